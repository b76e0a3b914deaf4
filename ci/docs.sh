#!/usr/bin/env bash
# The documentation builds without a warning, with default and with all features.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTDOCFLAGS="-D warnings"
cargo doc --no-deps --locked
cargo doc --no-deps --locked --all-features
