#!/usr/bin/env bash
# Runs what needs optimized code: the fence pair on real hardware with its negative control, alone and in a pool, the
# time of a pass over 100,000 caches, and the threaded tests at full speed.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo test --release --lib -- fence:: --nocapture
# Planted: a visitor without its barrier. Two processors have to run at once for it to meet an owner.
if [ "$(nproc)" -gt 1 ] && [ "$(uname -s)" = Linux ]; then
    tree=$(ci/mutant.sh heavy-fence src/sys/fence.rs '!asymmetric\(\) \|\| system::barrier\(\)' 'true')
    package=$(ci/programs.sh heavy-fence "$tree" gate)
    planted=(cargo test --quiet --release --manifest-path "$package/Cargo.toml" --test gate)
    "${planted[@]}" --no-run
    # They have met, or the process has crashed because they did.
    if REPOOL_GATE_SECONDS=60 "${planted[@]}" -- --nocapture >"$package/log" 2>&1; then
        echo "FAILED: a missing heavy fence was not found"
        exit 1
    fi
    grep -m 1 -E 'owner and visitor have met|signal: ' "$package/log"
fi
cargo test --release --test gate -- --nocapture
cargo test --release --test it --test janitor --test buffers
REPOOL_BARRIER=off cargo test --release --test it --test janitor --test buffers
