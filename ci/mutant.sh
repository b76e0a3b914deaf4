#!/usr/bin/env bash
# Makes a copy of the library with a planted fault, and prints its path. For checks that must be able to fail.
#
# Usage: ci/mutant.sh NAME FILE PATTERN REPLACEMENT   (for sed -E; exactly one line of the file must change)
set -euo pipefail
cd "$(dirname "$0")/.."
tree="${CARGO_TARGET_DIR:-$PWD/target}/mutants/$1"
rm -rf "$tree"
mkdir -p "$tree"
cp -r Cargo.toml README.md src derive examples tests "$tree"
sed -E "s/$3/$4/" "$2" >"$tree/$2"
changed=$(diff "$2" "$tree/$2" | grep -c '^>' || true)
if [ "$changed" -ne 1 ]; then
    echo "$1: $changed lines of $2 match, not one" >&2
    exit 1
fi
echo "$tree"
