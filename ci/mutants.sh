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

# run FILE DIRECTORY OPTION... -- TEST...: 2 and 3 mean that mutants were missed or timed out, which is judged at the end.
run() {
    local file=$1 directory=$2 code=0
    shift 2
    mkdir -p "$out/${file//\//-}"
    cargo mutants --dir "$directory" --output "$out/${file//\//-}" --file "$file" --exclude-re 'tests::' --no-shuffle --jobs 1 --timeout 120 \
        --build-timeout 600 --colors never "${options[@]}" "$@" || code=$?
    [ "$code" -eq 0 ] || [ "$code" -eq 2 ] || [ "$code" -eq 3 ]
}

# A small crate of the files that are compiled alone.
tree="$out/alone"
rm -rf "$tree"
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
{
    sed -n '/^\[package\]/,/^rust-version/p' Cargo.toml
    printf '\n[workspace]\n[features]\ndefault = ["bytes"]\nbytes = []\n[dependencies]\n'
    grep -E '^(crossbeam-utils|parking_lot) =' Cargo.toml
    printf '[dev-dependencies]\n'
    grep -E '^proptest =' Cargo.toml
    printf '[profile.dev.package."*"]\nopt-level = 2\n'
} >"$tree/Cargo.toml"

for file in "$@"; do
    if [ "$round" != whole ]; then
        rm -rf "${out:?}/${file//\//-}"
        if [[ " ${alone[*]} " == *" $file "* ]]; then
            # Its own tests, by the path of its module.
            module=${file#src/}
            module=${module%.rs}
            module=${module%/mod}
            CARGO_TARGET_DIR="$out/target-alone" run "$file" "$tree" -- --lib "${module//\//::}"
        fi
    fi
    if [ "$round" != alone ]; then
        CARGO_TARGET_DIR="$out/target" run "$file" . --iterate --baseline skip -- \
            --lib --test it --test buffers --test arenas
    fi
done

# Lines move, so ci/mutants.txt has FILE: WHAT, without line and column.
python3 - "$out" ci/mutants.txt "$@" <<'PYTHON'
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
    files = [out / name.replace("/", "-") / "mutants.out" / f"{kind}.txt" for name in sys.argv[3:]]
    for line in [line for file in files if file.exists() for line in file.read_text().splitlines()]:
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
