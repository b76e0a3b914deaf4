#!/usr/bin/env bash
# Runs cargo-mutants' mutants of the code that calculates or moves pointers, and expects a test to fail for each.
#
# A mutant that no test finds is an error, unless ci/mutants.txt has it with a reason. cargo-mutants lists the mutants;
# ci/mutants.py builds them into one program and runs them. The unit tests come first, then the programs in tests/.
# Orderings have no mutants here; ci/loom-mutants.sh weakens them. Prints which test killed each mutant, and the score
# of each file.
# Usage: ci/mutants.sh [--again] [--unit] [--re REGEX] [FILE ...]
#   --again     only those that survived the last run
#   --unit      only the unit tests of the file and of its folder
#   --re REGEX  only those whose names match
#   FILE        files of src/; default: those below
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo mutants --version >/dev/null 2>&1; then
    echo "cargo-mutants is not installed: cargo install cargo-mutants --locked" >&2
    exit 1
fi
files=(src/arena/sizes.rs src/background/trim.rs src/buffer/class.rs src/buffer/policy.rs src/buffer/queue.rs
    src/buffer/lent.rs src/budget.rs src/pressure.rs src/raw/cache.rs src/raw/cache_table.rs src/raw/charge.rs
    src/raw/crossings.rs src/raw/depot.rs src/raw/depots.rs src/raw/empty.rs src/raw/gate.rs src/raw/header.rs src/raw/hoards.rs
    src/raw/indexed.rs src/raw/limits.rs src/raw/lists.rs src/raw/node.rs src/raw/off_counter.rs src/raw/page.rs src/raw/peaks.rs
    src/raw/pool.rs src/raw/refs.rs src/raw/refusals.rs src/raw/root.rs src/raw/shared.rs src/raw/stats.rs src/raw/store.rs
    src/raw/visit.rs src/thread/exit.rs src/thread/ids.rs src/thread/local.rs src/thread/register.rs src/thread/slow.rs
    src/sync/lazy.rs src/sync/mod.rs src/sync/publish.rs src/sync/switch.rs)
options=()
while [[ ${1:-} == --* ]]; do
    case $1 in
    --again | --unit) options+=("$1") ;;
    --re)
        options+=("$1" "$2")
        shift
        ;;
    *) echo "unknown option $1" >&2 && exit 2 ;;
    esac
    shift
done
[ $# -gt 0 ] || set -- "${files[@]}"
out="${CARGO_TARGET_DIR:-$PWD/target}/mutants-run"
mkdir -p "$out/tree"
rsync -a --delete --exclude target --exclude .git ./ "$out/tree/"
python3 ci/mutants.py "$out" "${options[@]}" "$@"
