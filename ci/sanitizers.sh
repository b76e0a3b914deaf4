#!/usr/bin/env bash
# Sanitizers and unusual builds: what the tests find when memory, threads, layout or panics behave differently.
#
# Each detector first has to find a fault planted for it. ThreadSanitizer runs without a suppression: the hit
# path's order of memory is acquire and release on both flags, which it understands; what membarrier adds is
# that owner and visitor exclude each other, which a detector of races sees by its absence only.
# A step is skipped where its tool is missing, and says so.
# Usage: ci/sanitizers.sh [step...]   (asan tsan valgrind layout abort overflow)
set -euo pipefail
cd "$(dirname "$0")/.."
steps="${*:-asan tsan valgrind layout abort overflow}"
base="${CARGO_TARGET_DIR:-$PWD/target}"
host=$(rustc -vV | sed -n 's/^host: //p')
failed=0
nightly=$(rustup toolchain list 2>/dev/null | grep -c '^nightly-' || true)

# AddressSanitizer with LeakSanitizer: the whole suite.
asan() (
    export RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_stack_use_after_return=1:allocator_may_return_null=1
    export CARGO_TARGET_DIR="$base/asan"
    what=(--target "$host" --locked --all-features)
    # A test runs the examples, which cargo builds by itself only for a full run. That would have
    # doctests, which would need the flag as well and run elsewhere.
    cargo +nightly build --examples "${what[@]}" &&
        cargo +nightly test --lib --tests --no-fail-fast "${what[@]}"
)

# tsan_run PACKAGE: tests/miri.rs with everything instrumented, std as well.
tsan_run() {
    RUSTFLAGS=-Zsanitizer=thread CARGO_TARGET_DIR="$base/tsan" \
        cargo +nightly test --quiet -Zbuild-std --target "$host" --manifest-path "$1/Cargo.toml" --test miri
}

# ThreadSanitizer: the hit path, the slow path, and the fallback without a barrier.
tsan() {
    local tree package
    # Planted: what the owner did to the lists is not released.
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

# Memcheck: values never written, use after free, leaks.
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

# Fields in another order than usual.
layout() {
    RUSTFLAGS="-Zrandomize-layout" CARGO_TARGET_DIR="$base/layout" \
        cargo +nightly test --locked --all-features --lib --test it --test buffers --test arenas --test miri
}

# Panics end the process: nothing may rest on unwinding to be sound.
abort() {
    CARGO_PROFILE_RELEASE_PANIC=abort CARGO_TARGET_DIR="$base/abort" \
        cargo run --quiet --release --locked --example arena_request &&
        CARGO_PROFILE_RELEASE_PANIC=abort CARGO_TARGET_DIR="$base/abort" \
            cargo run --quiet --release --locked --example frames
}

# Overflow that wraps by mistake panics, in code that is otherwise as released.
overflow() {
    RUSTFLAGS="-C overflow-checks=on" CARGO_TARGET_DIR="$base/overflow" \
        cargo test --release --locked --all-features --lib --test it --test buffers --test arenas --test miri
}

# step NAME COMMAND...
step() {
    local name=$1 start=$SECONDS
    shift
    if "$@"; then
        echo "== $name: passed in $((SECONDS - start)) s"
    else
        echo "== $name: FAILED in $((SECONDS - start)) s"
        failed=1
    fi
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
