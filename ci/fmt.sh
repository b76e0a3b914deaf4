#!/usr/bin/env bash
# Checks the formatting of every package with rustfmt.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fmt --all --check
for package in benches fuzz; do
    if [ -f "$package/Cargo.toml" ]; then
        (cd "$package" && cargo fmt --check)
    fi
done
