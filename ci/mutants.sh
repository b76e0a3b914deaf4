#!/usr/bin/env bash
# Runs cargo-mutants on files of arithmetic and of pointer moves. A mutant that no test finds is an error, unless
# ci/mutants.txt lists it with a reason.
#
# The first round runs the unit tests, which take a second. The second round runs the slower tests for the mutants that
# survive. The loom models do not run; ci/loom-mutants.sh tests the orderings. Prints the score of each file.
# Usage: ci/mutants.sh [--shard K/N] [FILE ...]   (files of src/; without any, those below)
#   MUTANTS_ROUND=1 or 2: that round only. The second one continues the first.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo mutants --version >/dev/null 2>&1; then
    echo "cargo-mutants is not installed: cargo install cargo-mutants --locked" >&2
    exit 1
fi
shard=()
if [ "${1:-}" = --shard ]; then
    shard=(--shard "$2")
    shift 2
fi
if [ $# -eq 0 ]; then
    set -- src/background/trim.rs src/raw/limits.rs src/arena/sizes.rs src/buffer/policy.rs src/buffer/class.rs \
        src/buffer/queue.rs src/buffer/ring.rs src/raw/node.rs src/raw/charge.rs src/raw/depot.rs src/raw/lists.rs \
        src/raw/store.rs src/sync/mod.rs
fi
files=()
for file in "$@"; do
    files+=(--file "$file")
done
out="${CARGO_TARGET_DIR:-$PWD/target}/mutants-run"
mkdir -p "$out"
# All mutants are built in one copy of the tree, so the dependencies are built once.
export CARGO_TARGET_DIR="$out/target" CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0
export CARGO_PROFILE_DEV_INCREMENTAL=true PROPTEST_CASES="${PROPTEST_CASES:-64}"
export REPOOL_TEST_SCALE="${REPOOL_TEST_SCALE:-1}"

# run ARGUMENTS_OF_CARGO_MUTANTS... -- TESTS...
run() {
    local code=0
    cargo mutants --no-shuffle --jobs 1 --in-place=false --output "$out" --timeout 120 --build-timeout 300 \
        --colors never "${files[@]}" "${shard[@]}" "$@" || code=$?
    # 2: mutants were missed; 3: some timed out. Both are judged below.
    [ "$code" -eq 0 ] || [ "$code" -eq 2 ] || [ "$code" -eq 3 ]
}

if [ "${MUTANTS_ROUND:-1}" = 1 ]; then
    rm -rf "$out/mutants.out"
    run --baseline run -- --lib
fi
if [ "${MUTANTS_ROUND:-2}" = 2 ]; then
    run --iterate --baseline skip -- --lib --test it --test buffers --test arenas
fi

# The output has FILE:LINE:COLUMN: WHAT. Lines move, so ci/mutants.txt has FILE: WHAT.
python3 - "$out/mutants.out" ci/mutants.txt <<'PYTHON'
import collections, pathlib, re, sys

out, reasons = pathlib.Path(sys.argv[1]), {}
for line in pathlib.Path(sys.argv[2]).read_text().splitlines():
    if line and not line.startswith("#"):
        mutant, _, reason = line.partition(" # ")
        if not reason:
            sys.exit(f"no reason: {line}")
        reasons[mutant.strip()] = reason

def read(name):
    file = out / name
    return file.read_text().splitlines() if file.exists() else []

score, bad = collections.defaultdict(collections.Counter), []
for kind in ("caught", "previously_caught", "timeout", "unviable", "missed"):
    for line in read(f"{kind}.txt"):
        file = line.split(":")[0]
        what = re.sub(r"^([^:]+):\d+:\d+: ", r"\1: ", line)
        killed = kind in ("caught", "previously_caught", "timeout")
        if killed:
            score[file]["killed"] += 1
        elif kind == "missed":
            score[file]["explained" if what in reasons else "survived"] += 1
            if what not in reasons:
                bad.append(line)
total = collections.Counter()
for file, counts in sorted(score.items()):
    total += counts
    print(f"{file}: {counts['killed']} of {sum(counts.values())} killed, {counts['explained']} explained")
print(f"all: {total['killed']} of {sum(total.values())} killed, {total['explained']} explained, {len(bad)} not")
if bad:
    print("\n".join(["survived:"] + bad))
    sys.exit(1)
if not total:
    sys.exit("no mutant was tried")
PYTHON
