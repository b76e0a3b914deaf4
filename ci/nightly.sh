#!/usr/bin/env bash
# Runs what takes too long for every push: deeper models, longer tests, sanitizers, fuzzing, the benches.
#
# A step whose tool is missing is skipped with a message. All steps run, even after a failure.
# Usage: ci/nightly.sh [name of a step]
set -euo pipefail
cd "$(dirname "$0")/.."
only="${1:-}"
failed=() skipped=() passed=()

# step NAME COMMAND...
step() {
    local name=$1 start=$SECONDS
    shift
    [ -z "$only" ] || [ "$only" = "$name" ] || return 0
    echo "== $name"
    if "$@"; then
        passed+=("$name")
        echo "== $name: passed in $((SECONDS - start)) s"
    else
        failed+=("$name")
        echo "== $name: FAILED in $((SECONDS - start)) s"
    fi
}

# skip NAME WHY
skip() {
    [ -z "$only" ] || [ "$only" = "$1" ] || return 0
    skipped+=("$1")
    echo "== $1: skipped, $2"
}

step loom env LOOM_MAX_PREEMPTIONS=3 ci/loom.sh

if command -v rsync >/dev/null; then
    step loom-mutants ci/loom-mutants.sh
else
    skip loom-mutants "no rsync"
fi

if cargo mutants --version >/dev/null 2>&1; then
    step mutants ci/mutants.sh
else
    skip mutants "no cargo-mutants (cargo install cargo-mutants --locked)"
fi

step tests env REPOOL_TEST_SCALE=10 cargo test --release --locked --all-features

# The crates as crates.io will have them, and the documentation as docs.rs will build it.
step package ci/package.sh
docs_rs() (
    export RUSTDOCFLAGS="--cfg docsrs -D warnings" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/docs-rs"
    cargo +nightly doc --no-deps --locked --all-features || exit 1
    # Each page says which feature it needs. Nothing is documented for `tracing` alone.
    for page in bumpalo:struct.ArenaPool bytes:struct.BufferPool derive:derive.Recycle diagnostics:diagnostics/index \
        diagnostics:struct.Builder hashbrown:trait.Recycle indexmap:trait.Recycle metrics:fn.record_metrics \
        serde:struct.Stats smallvec:trait.Recycle tokio:struct.Buffer zeroize:struct.BufferPoolBuilder; do
        grep -qE "portability.*<code>${page%%:*}</code></strong>" "$CARGO_TARGET_DIR/doc/repool/${page#*:}.html" ||
            { echo "FAILED: ${page#*:}.html does not name the feature ${page%%:*}"; exit 1; }
    done
)
if rustup toolchain list 2>/dev/null | grep -q '^nightly-'; then
    step docs-rs docs_rs
else
    skip docs-rs "no nightly toolchain"
fi
step semver ci/semver.sh

# Both scripts skip the steps whose tool is missing, with a message.
step sanitizers ci/sanitizers.sh
step miri ci/miri.sh
step targets ci/targets.sh
if command -v cc >/dev/null; then
    step linked ci/linked.sh
else
    skip linked "no C compiler"
fi

# Ten minutes for each target, or REPOOL_FUZZ_SECONDS.
fuzz() (
    cd fuzz
    for target in fuzz_targets/*.rs; do
        local name leaks=1
        name=$(basename "$target" .rs)
        # Janitors end while libFuzzer looks for leaks between two runs. At the end it looks all the same.
        [ "$name" = threads ] && leaks=0
        cargo +nightly fuzz run "$name" -- -detect_leaks="$leaks" \
            -len_control=1 -max_total_time="${REPOOL_FUZZ_SECONDS:-600}" || return 1
    done
)

if cargo fuzz --version >/dev/null 2>&1 && rustup toolchain list 2>/dev/null | grep -q '^nightly-'; then
    step fuzz fuzz
else
    skip fuzz "no cargo-fuzz (cargo install cargo-fuzz) or no nightly toolchain"
fi

if command -v cc >/dev/null && command -v make >/dev/null; then
    step ratios cargo run --release --locked --manifest-path benches/Cargo.toml --bin ratios
    step benches cargo bench --locked --manifest-path benches/Cargo.toml --bench pool
else
    skip ratios "no C compiler or no make"
    skip benches "no C compiler or no make"
fi

echo "${#passed[@]} passed, ${#failed[@]} failed, ${#skipped[@]} skipped" \
    "${failed[*]:+(failed: ${failed[*]})}"
[ "${#failed[@]}" -eq 0 ] && [ "${#passed[@]}" -gt 0 ]
