#!/usr/bin/env bash
# Runs what needs optimized code: the fence pair on real hardware with its negative control, the time of a pass over
# 100,000 caches, and the threaded tests at full speed.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo test --release --lib -- fence:: --nocapture
cargo test --release --test it --test janitor --test buffers
REPOOL_BARRIER=off cargo test --release --test it --test janitor --test buffers
