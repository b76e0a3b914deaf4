#!/usr/bin/env bash
# clippy without a warning: the workspace with all features and with none, and the benches.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
cargo clippy --workspace --lib --no-default-features --locked -- -D warnings
(cd benches && cargo clippy --all-targets --locked -- -D warnings)
