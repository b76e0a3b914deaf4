#!/usr/bin/env bash
# Weakens every ordering and fence of the protocol, one at a time, and expects a loom model to fail.
#
# Each line of src/ with `// mutant: NAME` is one mutant. Acquire, Release and AcqRel become Relaxed, and a SeqCst fence is
# removed. If the name starts with drop-, the whole line is removed. A mutant that survives is an ordering without a
# model, or one that is not needed. Both are errors, and so is a mutant whose models do not end in time
# (LOOM_MUTANT_SECONDS), because that proves nothing.
#
# All mutants are built into one program (src/models/mutants.rs), which runs one of them at a time. ci/loom-mutants.txt names
# the models to run first for each mutant. If they pass, all models run.
# Usage: ci/loom-mutants.sh [NAME ...]
set -euo pipefail
cd "$(dirname "$0")/.."
work="${CARGO_TARGET_DIR:-$PWD/target}/loom-mutants"
mkdir -p "$work"
rsync -a --delete --exclude target --exclude .git ./ "$work/tree/"
cd "$work/tree"
export CARGO_TARGET_DIR="$work/target/loom" LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-2}"
# The first model that fails is enough.
export REPOOL_MODELS=first
seconds="${LOOM_MUTANT_SECONDS:-1200}"

# Rewrites the marked lines, and prints their mutants as NAME FILE:LINE.
mutants=$(python3 - <<'PYTHON'
import pathlib, re, sys

names = set()
for path in sorted(pathlib.Path("src").rglob("*.rs")):
    if "models" in path.parts:
        continue
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        marked = re.match(r"(\s*)(.*?) // mutant: ([a-z-]+)$", line)
        if not marked:
            continue
        indent, code, name = marked.groups()
        if name in names:
            sys.exit(f"{path}:{number + 1}: a second mutant {name}")
        names.add(name)
        keeps = f'crate::models::mutants::keeps("{name}")'
        binding = re.match(r"let (_\w+) = (.*);$", code)
        if name.startswith("drop-") and binding:
            code = f"let {binding[1]} = if {keeps} {{ Some({binding[2]}) }} else {{ None }};"
        elif name.startswith("drop-") or code == "fence(Ordering::SeqCst);":
            code = f"if {keeps} {{ {code} }}"
        else:
            weaker = rf'crate::models::mutants::ordering("{name}", \g<0>)'
            code, changed = re.subn(r"Ordering::(Acquire|Release|AcqRel)", weaker, code)
            if changed != 1:
                sys.exit(f"{path}:{number + 1}: {changed} orderings to weaken for {name}")
        lines[number] = indent + code
        print(name, f"{path}:{number + 1}")
    path.write_text("\n".join(lines) + "\n")
PYTHON
)

export RUSTFLAGS="--cfg repool_loom -C debug-assertions=on"
program=$(cargo test --quiet --release --lib --no-run --message-format=json |
    python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == "repool":
        print(message["executable"])')

# models FILTER: runs those models of the mutant.
models() {
    REPOOL_MUTANT=$name timeout "$seconds" "$program" "$1" --nocapture --test-threads=1 >"$work/$name.log" 2>&1
}

if ! REPOOL_MUTANT="" timeout "$seconds" "$program" models:: --test-threads=1 >"$work/shipped.log" 2>&1; then
    echo "the models fail without a mutant ($work/shipped.log)"
    exit 1
fi
survived=0 killed=0
while read -r name where; do
    [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
    code=0
    first=$(awk -v name="$name" '$1 == name { print $2 }' ci/loom-mutants.txt)
    if [ -n "$first" ]; then
        models "models::$first::" || code=$?
    fi
    if [ "$code" -eq 0 ]; then
        models models:: || code=$?
    fi
    if [ "$code" -eq 0 ]; then
        echo "SURVIVED  $name ($where)"
        survived=$((survived + 1))
    elif [ "$code" -eq 124 ]; then
        echo "TIMED OUT $name: no model has failed in $seconds s ($work/$name.log)"
        survived=$((survived + 1))
    elif [ "$code" -lt 128 ] && ! grep -q 'FIRST TO FAIL' "$work/$name.log"; then
        echo "BROKEN    $name: no model has failed ($work/$name.log)"
        survived=$((survived + 1))
    else
        model=$(sed -n 's/ --- FIRST TO FAIL$//p' "$work/$name.log")
        echo "killed    $name by ${model:-an abort}"
        killed=$((killed + 1))
    fi
done <<<"$mutants"
echo "$killed killed, $survived not"
[ "$survived" -eq 0 ] && [ "$killed" -gt 0 ]
