#!/usr/bin/env bash
# Checks that imports in src/ run downwards between the layers of DESIGN.md's tree and form no cycle among files, and
# that few lines outside src/sync/ and lib.rs depend on a feature or on loom.
#
# At most three files may import each other, if the header of one of them says so with a reason: "import each other".
# At most 25 lines may have a `cfg` that names a feature or loom. An inner attribute that gates a whole file is not
# counted.
#
# It reads each file's `use` lines and inline `crate::` paths, except in the loom models and in modules of tests. With
# --self-test it first plants an upward import, a cycle, and too many `cfg` lines, and expects to find each.
# Usage: ci/layers.sh [--self-test]
set -euo pipefail
cd "$(dirname "$0")/.."

check() {
    python3 - "$1" <<'PYTHON'
import pathlib, re, sys

root = pathlib.Path(sys.argv[1])
src = root / "src"

# The layers, topmost first: each line of the tree starts with names of files or folders.
tree = re.search(r"## The tree\n.*?```text\n(.*?)```", (root / "DESIGN.md").read_text(), re.S)
if not tree:
    sys.exit("DESIGN.md has no tree")
layers = []
for line in tree.group(1).splitlines():
    names = re.match(r"(?:[a-z_]+(?:/|\.rs) *)+", line)
    if names:
        layers.append(names.group(0).split())

def layer_of(file):
    for number, names in enumerate(layers):
        if any(file == name or (name.endswith("/") and file.startswith(name)) for name in names):
            return number
    sys.exit(f"src/{file} is in no layer of DESIGN.md's tree")

files = sorted(str(path.relative_to(src)) for path in src.rglob("*.rs"))
files = [file for file in files if not file.startswith("models/") and not file.endswith("/tests.rs")]

def module_of(file):
    parts = file[:-3].split("/")
    if parts[-1] in ("mod", "lib"):
        parts.pop()
    return parts

by_module = {tuple(module_of(file)): file for file in files}

def resolve(path):
    """The file of the longest prefix of a path that is a module."""
    for end in range(len(path), 0, -1):
        found = by_module.get(tuple(path[:end]))
        if found:
            return found
    return None

def code(text):
    """The lines with their numbers, without comments and without a module of tests at the end."""
    gated = False
    for number, line in enumerate(text.splitlines(), 1):
        if gated and re.match(r"(pub(\([a-z]+\))? )?mod [a-z_]+ \{", line):
            return
        gated = bool(re.match(r"#\[cfg\((all\()?test[,)]", line)) or (gated and line.startswith("#["))
        yield number, "" if re.match(r"\s*//", line) else re.sub(r"\s//.*", "", line)

def leaves(text):
    """The paths of a use tree: a::{b, c::d} -> a::b, a::c::d."""
    text = text.strip()
    if "{" not in text:
        return [re.sub(r"\s+as\s+\w+", "", text)]
    head, rest = text.split("{", 1)
    rest, depth, part, parts = rest[: rest.rindex("}")], 0, "", []
    for char in rest:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += char
    parts.append(part)
    return [head + leaf for part in parts if part.strip() for leaf in leaves(part)]

edges = {}
for file in files:
    module = module_of(file)
    lines = list(code((src / file).read_text()))
    statement, start = "", 0
    found = []
    for number, line in lines:
        if statement or re.match(r"\s*(pub(\([a-z: ]+\))? )?use (crate|super|self)::", line):
            start = start if statement else number
            statement += line.strip() + " "
            if ";" in line:
                use = re.sub(r".*?\buse ", "", statement.split(";")[0], count=1)
                found += [(start, leaf) for leaf in leaves(use)]
                statement = ""
        else:
            found += [(number, path) for path in re.findall(r"\bcrate(?:::\w+)+", line)]
    for number, path in found:
        parts = path.replace(" ", "").split("::")
        base = []
        if parts[0] == "super":
            base = list(module)
            while parts and parts[0] == "super":
                base, parts = base[:-1], parts[1:]
        elif parts[0] == "self":
            base, parts = list(module), parts[1:]
        else:
            parts = parts[1:]
        target = resolve(base + parts)
        # The mod.rs of a folder only declares its files. A path to an item that it re-exports counts as an import.
        if target and target != file and target != "lib.rs":
            edges.setdefault(file, {}).setdefault(target, number)

bad = []
for file, targets in edges.items():
    for target, number in targets.items():
        if layer_of(target) < layer_of(file):
            bad.append(f"src/{file}:{number}: imports src/{target}, which is in a higher layer")
for file in files:
    layer_of(file)

# Cycles: Tarjan's strongly connected components.
index, low, stack, cycles = {}, {}, [], []
sys.setrecursionlimit(10_000)
def visit(file):
    index[file] = low[file] = len(index)
    stack.append(file)
    for target in edges.get(file, {}):
        if target not in index:
            visit(target)
            low[file] = min(low[file], low[target])
        elif target in stack:
            low[file] = min(low[file], index[target])
    if low[file] == index[file]:
        part = []
        while True:
            part.append(stack.pop())
            if part[-1] == file:
                break
        if len(part) > 1:
            cycles.append(part)
for file in files:
    if file not in index:
        visit(file)
for cycle in cycles:
    headers = ["".join(l[3:] for l in (src / file).read_text().splitlines(True) if l.startswith("//!")) for file in cycle]
    if len(cycle) <= 3 and any(re.search(r"import\s+each\s+other", header) for header in headers):
        continue
    for file in sorted(cycle):
        for target, number in sorted(edges[file].items()):
            if target in cycle:
                bad.append(f"src/{file}:{number}: forms a cycle with src/{target}")

# Lines that depend on a feature or on loom. src/sync/ makes that choice for primitives, and lib.rs for modules.
MOST_CFGS = 25
cfgs = [
    f"src/{file}:{number}: {line.strip()}"
    for path in sorted(src.rglob("*.rs"))
    if (file := str(path.relative_to(src))) != "lib.rs" and not file.startswith("sync/")
    for number, line in enumerate(path.read_text().splitlines(), 1)
    if re.search(r"cfg.*(feature|loom)", line) and not line.startswith("#![cfg(")
]
if len(cfgs) > MOST_CFGS:
    bad += cfgs + [f"{len(cfgs)} cfg lines for features and loom, more than {MOST_CFGS}"]

if bad:
    print("\n".join(bad))
    sys.exit(1)
print(
    f"{len(files)} files in {len(layers)} layers, {sum(map(len, edges.values()))} imports, all downwards; "
    f"{len(cfgs)} cfg lines for features and loom, at most {MOST_CFGS}"
)
PYTHON
}

if [ "${1:-}" = --self-test ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    plant() { # plant FILE LINE PATTERN
        rm -rf "$work/tree"
        mkdir "$work/tree"
        cp -r src DESIGN.md "$work/tree/"
        printf '%b\n' "$2" >>"$work/tree/$1"
        if found=$(check "$work/tree" 2>&1) || ! grep -q "$3" <<<"$found"; then
            printf 'FAILED: %b in %s was not found\n%s\n' "$2" "$1" "$found"
            exit 1
        fi
    }
    plant src/raw/node.rs 'use crate::thread::slow;' 'src/raw/node.rs:[0-9]*: imports src/thread/slow.rs'
    plant src/raw/node.rs 'use super::pool::Core;' 'src/raw/node.rs:[0-9]*: forms a cycle'
    plant src/raw/node.rs "$(printf '#[cfg(feature = "bytes")]\\n%.0s' {1..26})" 'cfg lines for features and loom, more than 25'
    echo "planted imports and cfg lines were found"
fi
check .
