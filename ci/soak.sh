#!/usr/bin/env bash
# Runs a long mixed load: one random schedule for REPOOL_SOAK_SECONDS (1200), with the barrier and then without it. It
# prints resident memory and live blocks whenever the schedule is at rest; both have to stay flat. Then it runs
# REPOOL_SCHEDULES (200) random schedules, with the barrier and without it, and injects faults at every point.
# Usage: ci/soak.sh
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/soak"
export REPOOL_SOAK_SECONDS="${REPOOL_SOAK_SECONDS:-1200}" REPOOL_SCHEDULES="${REPOOL_SCHEDULES:-200}"
for barrier in on off; do
    echo "== barrier $barrier"
    REPOOL_BARRIER=$barrier cargo test --release --test schedules -- \
        --include-ignored --nocapture --test-threads=1
done
REPOOL_TEST_SCALE=50 cargo test --release --test faults -- --nocapture
