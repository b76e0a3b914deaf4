#!/usr/bin/env bash
# Runs tests under Miri: undefined behaviour under both aliasing models, data races of the memory model, leaks.
#
# The first step plants faults that Miri must find. Then tests/miri.rs runs with many seeds on the hit path, on the slow
# path, with the janitor's thread, and for other targets (32 bits, big-endian, other systems). The crate's own tests run
# with one seed. They are smaller under Miri, and those that need the system are left out. A step whose tool is missing
# is skipped with a message.
# Usage: ci/miri.sh [step...]   (REPOOL_MIRI_SEEDS: how many, default 16; REPOOL_MIRI_LIMIT: seconds for each file of
# tests, default 1800; REPOOL_MIRI_ONLY: these files; REPOOL_MIRI_MODELS: "stacked tree")
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=ci/step.sh
. ci/step.sh
seeds="${REPOOL_MIRI_SEEDS:-16}"
if ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "SKIPPED: no Miri (rustup +nightly component add miri rust-src)"
    exit 0
fi
# Many tests panic on purpose, and a backtrace takes Miri seconds.
strict="-Zmiri-strict-provenance -Zmiri-symbolic-alignment-check -Zmiri-env-set=RUST_BACKTRACE=0"
steps="${*:-planted programs slow janitor targets tests}"

# programs PACKAGE FLAGS ARGUMENTS...: tests/miri.rs under Miri.
programs() {
    local package=$1 flags=$2
    shift 2
    MIRIFLAGS="$flags" cargo +nightly miri test --quiet --manifest-path "$package/Cargo.toml" --test miri "$@"
}

# Removes each fence and ordering between owner and visitor in turn, which lets two threads touch a cache's lists at
# once.
planted() {
    local name file from to tree package
    while read -r name file from to; do
        tree=$(ci/mutant.sh "miri-$name" "src/$file" "$from" "$to") || return 1
        package=$(ci/programs.sh miri-mutant "$tree")
        if programs "$package" "-Zmiri-many-seeds=0..4" -- one_owner >"$package/log" 2>&1; then
            echo "$name: Miri found nothing"
            return 1
        fi
        grep -m 1 'Undefined Behavior: Data race' "$package/log" || return 1
    done <<'MUTANTS'
heavy-fence sys/fence.rs ^pub.crate..fn.heavy.*$ & if cfg!(miri) { return true; }
light-fence sys/fence.rs cfg!\(miri\).\{$ false{
owner-gate raw/gate.rs Acquire(.*mutant:.owner-gate$) Relaxed\1
owner-leaves raw/gate.rs Release(.*mutant:.owner-leaves$) Relaxed\1
gate-opens raw/gate.rs Release(.*mutant:.gate-opens$) Relaxed\1
visitor-busy raw/gate.rs Acquire(.*mutant:.visitor-busy$) Relaxed\1
MUTANTS
}

models() { # FLAGS ARGUMENTS...
    local flags=$1 model
    shift
    for model in "" -Zmiri-tree-borrows; do
        programs "$package" "$strict $model $flags" "$@" || return 1
    done
}

# Targets that Miri runs without a C library of the target.
targets() {
    local target
    for target in s390x-unknown-linux-gnu i686-unknown-linux-gnu aarch64-unknown-linux-gnu \
        x86_64-pc-windows-gnu aarch64-apple-darwin; do
        step "target $target" programs "$package" "$strict" --target "$target"
    done
}

# The crate's own tests, one file at a time, each with a time limit. The files leave out what cannot run, with a reason:
# child processes, signals, the janitor's thread, failing allocations, loads of megabytes.
tests() {
    local model limit="${REPOOL_MIRI_LIMIT:-1800}" file name start failed=0 ran=0
    # Not zeroize, whose writes are of single bytes: only the test that is about it.
    local features=bytes,bumpalo,derive,diagnostics,hashbrown,indexmap,metrics,serde,smallvec,tokio,tracing
    local what=(--quiet --locked --no-default-features --features)
    for model in ${REPOOL_MIRI_MODELS:-stacked tree}; do
        # Proptest needs the current directory, and some tests need files.
        MIRIFLAGS="$strict -Zmiri-disable-isolation"
        [ "$model" = stacked ] || MIRIFLAGS+=" -Zmiri-tree-borrows"
        export MIRIFLAGS
        for file in lib tests/*.rs tests/*/main.rs; do
            name=${file%/main.rs}
            name=${name##*/}
            name=${name%.rs}
            [ -z "${REPOOL_MIRI_ONLY:-}" ] || [[ " $REPOOL_MIRI_ONLY " == *" $name "* ]] || continue
            start=$SECONDS ran=1
            case "$name" in
            lib) timeout "$limit" cargo +nightly miri test "${what[@]}" "$features" --lib ;;
            buffers_wiped) timeout "$limit" cargo +nightly miri test "${what[@]}" "$features,zeroize" --test "$name" ;;
            *) timeout "$limit" cargo +nightly miri test "${what[@]}" "$features" --test "$name" ;;
            esac || {
                echo "-- $model borrows, $name: FAILED"
                failed=1
            }
            echo "-- $model borrows, $name: $((SECONDS - start)) s"
        done
    done
    [ "$ran" -eq 1 ] || {
        echo "no such file of tests: ${REPOOL_MIRI_ONLY:-}"
        return 1
    }
    return "$failed"
}

package=$(ci/programs.sh miri)
for name in $steps; do
    case "$name" in
    planted) step planted planted ;;
    programs) step programs models "-Zmiri-many-seeds=0..$seeds" ;;
    slow) step slow models "-Zmiri-env-set=REPOOL_JANITOR=off -Zmiri-many-seeds=0..$((seeds / 4 + 1))" ;;
    # Miri would report the thread that still runs when main returns, and what it leaks.
    janitor) step janitor models "-Zmiri-env-set=REPOOL_JANITOR=on -Zmiri-ignore-leaks -Zmiri-many-seeds=0..$((seeds / 4 + 1))" ;;
    targets) targets ;;
    tests) step tests tests ;;
    *)
        echo "no step $name"
        failed=1
        ;;
    esac
done
[ "$failed" -eq 0 ]
