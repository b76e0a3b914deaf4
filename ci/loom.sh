#!/usr/bin/env bash
# Runs the loom models, by default with two preemptions (LOOM_MAX_PREEMPTIONS=3 takes long).
# Usage: ci/loom.sh [name of a model]
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="--cfg repool_loom -C debug-assertions=on"
export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-2}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
cargo test --quiet --release --lib -- "${1:-models::}" --nocapture --test-threads=1
