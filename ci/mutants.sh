#!/usr/bin/env bash
# Runs cargo-mutants on the code that calculates or only moves pointers, and expects a test to fail for each mutant.
#
# A mutant that no test finds is an error, unless ci/mutants.txt has it with a reason. Two rounds save time:
#   alone  files that need nothing but src/sync/ are compiled by themselves, with their unit tests
#   whole  what that leaves, and the other files, with the whole crate: its unit tests, and tests/{it,buffers,arenas}
# Orderings have no mutants here; ci/loom-mutants.sh weakens them. Prints the score of each file.
# Usage: ci/mutants.sh [--round alone|whole] [--shard K/N] [FILE ...]   (files of src/; default: those below)
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo mutants --version >/dev/null 2>&1; then
    echo "cargo-mutants is not installed: cargo install cargo-mutants --locked" >&2
    exit 1
fi
alone=(src/arena/sizes.rs src/buffer/class.rs src/buffer/policy.rs src/buffer/queue.rs
    src/sync/lazy.rs src/sync/mod.rs src/sync/publish.rs src/sync/switch.rs)
whole=(src/background/trim.rs src/raw/charge.rs src/raw/depot.rs src/raw/limits.rs src/raw/lists.rs src/raw/node.rs
    src/raw/store.rs)

round=both options=()
while [[ ${1:-} == --* ]]; do
    case $1 in
    --round) round=$2 ;;
    --shard) options+=(--shard "$2") ;;
    *) echo "unknown option $1" >&2 && exit 2 ;;
    esac
    shift 2
done
[ $# -gt 0 ] || set -- "${alone[@]}" "${whole[@]}"
out="${CARGO_TARGET_DIR:-$PWD/target}/mutants-run"
mkdir -p "$out"
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=1

# run DIRECTORY OPTION... -- TEST...: 2 and 3 mean that mutants were missed or timed out, which is judged at the end.
run() {
    local directory=$1 code=0
    shift
    cargo mutants --dir "$directory" --output "$out" --no-shuffle --jobs 1 --timeout 120 --build-timeout 600 \
        --colors never "${options[@]}" "$@" || code=$?
    [ "$code" -eq 0 ] || [ "$code" -eq 2 ] || [ "$code" -eq 3 ]
}

# files LIST...: --file options for those arguments of the script that are in the list.
files() {
    local file
    chosen=()
    for file in "${arguments[@]}"; do
        [[ " $* " != *" $file "* ]] || chosen+=(--file "$file")
    done
}
arguments=("$@")

if [ "$round" != whole ]; then
    rm -rf "$out/mutants.out"
    files "${alone[@]}"
    if [ "${#chosen[@]}" -gt 0 ]; then
        tree="$out/alone"
        mkdir -p "$tree/src/buffer" "$tree/src/arena"
        cp -r src/sync "$tree/src/"
        cp -r src/arena/sizes src/arena/sizes.rs "$tree/src/arena/"
        cp src/buffer/{class,policy,queue}.rs "$tree/src/buffer/"
        cat >"$tree/src/lib.rs" <<'RUST'
#![allow(dead_code, unused_imports, unexpected_cfgs)]
mod arena {
    mod sizes;
}
mod buffer {
    mod class;
    mod policy;
    mod queue;
}
mod sync;
RUST
        sed -n '/^\[package\]/,/^rust-version/p' Cargo.toml >"$tree/Cargo.toml"
        {
            printf '\n[workspace]\n[features]\ndefault = ["bytes"]\nbytes = []\n[dependencies]\n'
            grep -E '^(crossbeam-utils|parking_lot) =' Cargo.toml
            printf '[dev-dependencies]\n'
            grep -E '^proptest =' Cargo.toml
            printf '[profile.dev.package."*"]\nopt-level = 2\n'
        } >>"$tree/Cargo.toml"
        CARGO_TARGET_DIR="$out/target-alone" run "$tree" "${chosen[@]}" -- --lib
    fi
fi
if [ "$round" != alone ]; then
    files "${alone[@]}" "${whole[@]}"
    CARGO_TARGET_DIR="$out/target" run . --iterate --baseline skip "${chosen[@]}" -- \
        --lib --test it --test buffers --test arenas
fi

# Lines move, so ci/mutants.txt has FILE: WHAT, without line and column.
python3 - "$out/mutants.out" ci/mutants.txt <<'PYTHON'
import collections, pathlib, re, sys

out, reasons = pathlib.Path(sys.argv[1]), {}
for line in pathlib.Path(sys.argv[2]).read_text().splitlines():
    if line and not line.startswith("#"):
        mutant, _, reason = line.partition(" # ")
        if not reason:
            sys.exit(f"no reason: {line}")
        reasons[mutant.strip()] = reason

score, survivors = collections.defaultdict(collections.Counter), []
for kind in ("caught", "previously_caught", "timeout", "missed"):
    file = out / f"{kind}.txt"
    for line in file.read_text().splitlines() if file.exists() else []:
        name = line.split(":")[0]
        if kind != "missed":
            score[name]["killed"] += 1
        elif re.sub(r"^([^:]+):\d+:\d+: ", r"\1: ", line) in reasons:
            score[name]["explained"] += 1
        else:
            score[name]["survived"] += 1
            survivors.append(line)
total = collections.Counter()
for name, counts in sorted(score.items()):
    total += counts
    print(f"{name}: {counts['killed']} of {sum(counts.values())} killed, {counts['explained']} explained")
print(f"all: {total['killed']} of {sum(total.values())} killed, {total['explained']} explained")
if survivors:
    print("\n".join(["survived:"] + survivors))
if survivors or not total:
    sys.exit(1)
PYTHON
