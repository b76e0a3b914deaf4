#!/usr/bin/env bash
# Weakens every ordering and fence of the protocol, one at a time, and expects a loom model to fail.
#
# Each line of src/ with `// mutant: NAME` is one mutant. Acquire, Release and AcqRel become Relaxed, and a SeqCst
# fence is removed. If the name starts with drop-, the whole line is removed. A mutant that survives is an ordering
# without a model, or one that is not needed. Both are errors, and so is a mutant whose models do not end in time
# (LOOM_MUTANT_SECONDS), because that proves nothing.
#
# ci/loom-mutants.txt names the models to run first for each mutant. If they pass, all models run.
# Usage: ci/loom-mutants.sh [NAME ...]
set -euo pipefail
cd "$(dirname "$0")/.."
work="${CARGO_TARGET_DIR:-$PWD/target}/loom-mutants"
mkdir -p "$work"
rsync -a --delete --exclude target --exclude .git ./ "$work/tree/"
cd "$work/tree"
export CARGO_TARGET_DIR="$work/target" CARGO_INCREMENTAL=1 LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-2}"

# The first model that fails is enough.
export REPOOL_MODELS=first
seconds="${LOOM_MUTANT_SECONDS:-1200}"

survived=0 killed=0
while IFS=: read -r file line text; do
    name=$(sed -E 's/.*mutant: ([a-z-]+).*/\1/' <<<"$text")
    [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
    cp "$file" "$work/original"
    if [[ $name == drop-* ]]; then
        sed -i "${line}d" "$file"
    elif [[ $text == *"fence(Ordering::SeqCst)"* ]]; then
        sed -i -E "${line}s/fence\(Ordering::SeqCst\);//" "$file"
    else
        sed -i -E "${line}s/Ordering::(Acquire|Release|AcqRel)/Ordering::Relaxed/" "$file"
    fi
    if cmp -s "$file" "$work/original"; then
        echo "MALFORMED $name: nothing to weaken at $file:$line"
        survived=$((survived + 1))
        cp "$work/original" "$file"
        continue
    fi
    code=0
    first=$(awk -v name="$name" '$1 == name { print $2 }' ci/loom-mutants.txt)
    if [ -n "$first" ]; then
        timeout "$seconds" bash ci/loom.sh "models::$first::" >"$work/$name.log" 2>&1 || code=$?
    fi
    if [ "$code" -eq 0 ]; then
        timeout "$seconds" bash ci/loom.sh >"$work/$name.log" 2>&1 || code=$?
    fi
    if [ "$code" -eq 0 ]; then
        echo "SURVIVED  $name ($file:$line)"
        survived=$((survived + 1))
    elif [ "$code" -eq 124 ]; then
        echo "TIMED OUT $name: no model has failed in $seconds s ($work/$name.log)"
        survived=$((survived + 1))
    elif ! grep -qE 'FIRST TO FAIL|signal: [0-9]+' "$work/$name.log"; then
        echo "BROKEN    $name: no model has run ($work/$name.log)"
        survived=$((survived + 1))
    else
        model=$(sed -n 's/ --- FIRST TO FAIL$//p' "$work/$name.log")
        echo "killed    $name by ${model:-an abort}"
        killed=$((killed + 1))
    fi
    cp "$work/original" "$file"
done < <(grep -rn '// mutant: ' src --include='*.rs' | grep -v 'src/models')
echo "$killed passed, $survived failed"
[ "$survived" -eq 0 ] && [ "$killed" -gt 0 ]
