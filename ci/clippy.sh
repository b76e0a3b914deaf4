#!/usr/bin/env bash
# Runs clippy on the workspace, with all features and with none, and on the benches. Warnings are errors.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
cargo clippy --workspace --lib --no-default-features --locked -- -D warnings
(cd benches && cargo clippy --all-targets --locked -- -D warnings)
