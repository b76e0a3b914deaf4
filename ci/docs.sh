#!/usr/bin/env bash
# Builds the documentation with default and with all features. Warnings are errors.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTDOCFLAGS="-D warnings"
cargo doc --no-deps --locked
cargo doc --no-deps --locked --all-features
