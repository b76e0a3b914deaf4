#!/usr/bin/env bash
# Imports in src/ run downwards between the layers of DESIGN.md's tree, and close no circle among files.
#
# At most three files may import each other, if the header of one of them says so and why: "import each other".
#
# Reads each file's `use` lines and inline `crate::` paths; leaves out the loom models and modules of tests. With
# --self-test it first plants an import that runs upwards, and one that closes a circle, and must find both.
# Usage: ci/layers.sh [--self-test]
set -euo pipefail
cd "$(dirname "$0")/.."

check() {
    python3 - "$1" <<'PYTHON'
import pathlib, re, sys

root = pathlib.Path(sys.argv[1])
src = root / "src"

# The layers, topmost first: in the tree, each line that starts with names of files or folders.
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
files = [file for file in files if not file.startswith("models/")]

def module_of(file):
    parts = file[:-3].split("/")
    if parts[-1] in ("mod", "lib"):
        parts.pop()
    return parts

by_module = {tuple(module_of(file)): file for file in files}

def resolve(path):
    """The file of the longest part of a path that is a module."""
    for end in range(len(path), 0, -1):
        found = by_module.get(tuple(path[:end]))
        if found:
            return found
    return None

def code(text):
    """The lines with their numbers, without comments and without the tests at the foot."""
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
        # A folder's mod.rs only declares its files: naming an item that it re-exports is naming it.
        if target and target != file and target != "lib.rs":
            edges.setdefault(file, {}).setdefault(target, number)

bad = []
for file, targets in edges.items():
    for target, number in targets.items():
        if layer_of(target) < layer_of(file):
            bad.append(f"src/{file}:{number}: imports src/{target}, which is in a layer above")
for file in files:
    layer_of(file)

# Circles: Tarjan's strongly connected components.
index, low, stack, circles = {}, {}, [], []
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
            circles.append(part)
for file in files:
    if file not in index:
        visit(file)
for circle in circles:
    headers = ["".join(l[3:] for l in (src / file).read_text().splitlines(True) if l.startswith("//!")) for file in circle]
    if len(circle) <= 3 and any(re.search(r"import\s+each\s+other", header) for header in headers):
        continue
    for file in sorted(circle):
        for target, number in sorted(edges[file].items()):
            if target in circle:
                bad.append(f"src/{file}:{number}: closes a circle with src/{target}")

if bad:
    print("\n".join(bad))
    sys.exit(1)
print(f"{len(files)} files in {len(layers)} layers, {sum(map(len, edges.values()))} imports, all downwards")
PYTHON
}

if [ "${1:-}" = --self-test ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    plant() { # plant FILE LINE PATTERN
        rm -rf "$work/tree"
        mkdir "$work/tree"
        cp -r src DESIGN.md "$work/tree/"
        printf '%s\n' "$2" >>"$work/tree/$1"
        if found=$(check "$work/tree" 2>&1) || ! grep -q "$3" <<<"$found"; then
            printf 'FAILED: %s in %s was not found\n%s\n' "$2" "$1" "$found"
            exit 1
        fi
    }
    plant src/raw/node.rs 'use crate::thread::slow;' 'src/raw/node.rs:[0-9]*: imports src/thread/slow.rs'
    plant src/raw/node.rs 'use super::pool::Core;' 'src/raw/node.rs:[0-9]*: closes a circle'
    echo "planted imports were found"
fi
check .
