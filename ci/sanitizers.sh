#!/usr/bin/env bash
# Runs tests under sanitizers and in unusual builds, where memory, threads, layout or panics behave differently.
#
# Each detector first has to find a planted fault. ThreadSanitizer runs without suppressions: it understands the acquire
# and release orderings of the hit path. It does not know `membarrier`, so it cannot tell that owner and visitor exclude
# each other. A step whose tool is missing is skipped with a message.
# Usage: ci/sanitizers.sh [step...]   (asan tsan valgrind layout abort overflow)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=ci/step.sh
. ci/step.sh
steps="${*:-asan tsan valgrind layout abort overflow}"
base="${CARGO_TARGET_DIR:-$PWD/target}"
host=$(rustc -vV | sed -n 's/^host: //p')
nightly=$(rustup toolchain list 2>/dev/null | grep -c '^nightly-' || true)

# AddressSanitizer with LeakSanitizer: the whole suite but for tests/rss.rs, which is about the C library's heap.
asan() (
    export RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_stack_use_after_return=1:allocator_may_return_null=1
    export CARGO_TARGET_DIR="$base/asan"
    what=(--target "$host" --locked --all-features)
    tests=()
    for test in tests/*.rs tests/*/main.rs; do
        name=${test#tests/}
        name=${name%/main.rs}
        name=${name%.rs}
        [ "$name" = rss ] || tests+=(--test "$name")
    done
    # Some tests run the examples, which cargo builds only for a full run. A full run would include the doctests, which
    # would need the flag as well. They run elsewhere.
    cargo +nightly build --examples "${what[@]}" &&
        cargo +nightly test --lib "${tests[@]}" --no-fail-fast "${what[@]}" -- \
            --skip a_profile_of_valgrind_is_read_as_well # Valgrind does not run what is instrumented
)

# tsan_run PACKAGE: runs tests/miri.rs with everything instrumented, including std.
tsan_run() {
    RUSTFLAGS=-Zsanitizer=thread CARGO_TARGET_DIR="$base/tsan" \
        cargo +nightly test --quiet -Zbuild-std --target "$host" --manifest-path "$1/Cargo.toml" --test miri
}

# ThreadSanitizer: the hit path, the slow path, and the fallback without a barrier.
tsan() {
    local tree package
    # Planted: the owner leaves without Release.
    tree=$(ci/mutant.sh owner-leaves src/raw/gate.rs 'Release\); (\/\/ mutant: owner-leaves$)' 'Relaxed); \1') || return 1
    package=$(ci/programs.sh tsan-mutant "$tree")
    if tsan_run "$package" >"$package/log" 2>&1; then
        echo "ThreadSanitizer found nothing"
        return 1
    fi
    grep -m 1 'WARNING: ThreadSanitizer: data race' "$package/log" || return 1
    package=$(ci/programs.sh tsan)
    tsan_run "$package" &&
        REPOOL_BARRIER=off tsan_run "$package" &&
        REPOOL_JANITOR=off tsan_run "$package"
}

valgrind_run() {
    local target=${host^^}
    env "CARGO_TARGET_${target//-/_}_RUNNER=valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect" \
        CARGO_TARGET_DIR="$base/valgrind" \
        cargo test --quiet --target "$host" --manifest-path "$1/Cargo.toml" --test miri
}

# Memcheck: uninitialized values, use after free, leaks.
memcheck() {
    local tree package
    # Planted: a core is never freed.
    tree=$(ci/mutant.sh leak src/raw/refs.rs 'unsafe \{ free\(self\.0\.as_ptr\(\)\) \}' 'let _ = free') || return 1
    package=$(ci/programs.sh valgrind-mutant "$tree")
    if valgrind_run "$package" >"$package/log" 2>&1; then
        echo "valgrind found nothing"
        return 1
    fi
    grep -m 1 'definitely lost' "$package/log" || return 1
    valgrind_run "$(ci/programs.sh valgrind)"
}

# Random field orders.
layout() {
    RUSTFLAGS="-Zrandomize-layout" CARGO_TARGET_DIR="$base/layout" \
        cargo +nightly test --locked --all-features --lib --test it --test buffers --test arenas --test miri -- \
        --skip a_pool_is_six_words_wide
}

# Panics abort the process: soundness must not depend on unwinding.
abort() {
    CARGO_PROFILE_RELEASE_PANIC=abort CARGO_TARGET_DIR="$base/abort" \
        cargo run --quiet --release --locked --example arena_request &&
        CARGO_PROFILE_RELEASE_PANIC=abort CARGO_TARGET_DIR="$base/abort" \
            cargo run --quiet --release --locked --example frames
}

# Release code in which an unintended overflow panics.
overflow() {
    RUSTFLAGS="-C overflow-checks=on" CARGO_TARGET_DIR="$base/overflow" \
        cargo test --release --locked --all-features --lib --test it --test buffers --test arenas --test miri
}

for name in $steps; do
    case "$name" in
    asan | tsan)
        if [ "$host" != x86_64-unknown-linux-gnu ]; then
            echo "== $name: SKIPPED, knows x86_64-unknown-linux-gnu only, this is $host"
        elif [ "$nightly" -eq 0 ]; then
            echo "== $name: SKIPPED, no nightly toolchain"
        elif [ "$name" = tsan ] && [ ! -d "$(rustc +nightly --print sysroot)/lib/rustlib/src" ]; then
            echo "== $name: SKIPPED, no source of the library (rustup +nightly component add rust-src)"
        else
            step "$name" "$name"
        fi
        ;;
    valgrind)
        if command -v valgrind >/dev/null; then
            step valgrind memcheck
        else
            echo "== valgrind: SKIPPED, not installed"
        fi
        ;;
    layout)
        if [ "$nightly" -eq 0 ]; then
            echo "== layout: SKIPPED, no nightly toolchain"
        else
            step layout layout
        fi
        ;;
    abort | overflow) step "$name" "$name" ;;
    *)
        echo "no step $name"
        failed=1
        ;;
    esac
done
[ "$failed" -eq 0 ]
