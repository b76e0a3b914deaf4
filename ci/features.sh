#!/usr/bin/env bash
# Builds the library without features, with each feature alone, and with all. README.md has to list each feature.
set -euo pipefail
cd "$(dirname "$0")/.."

# cargo lists the features in the "features" object of the package, with one "name":[..] pair for each. The object is
# flat, and its values are lists of strings without brackets.
features=$(cargo metadata --format-version 1 --no-deps --locked |
    grep -oE '"name":"repool","version"|"features":\{[^}]*\}' |
    awk '/^"name":"repool"/ { ours = 1; next } ours { print; exit }' |
    grep -oE '"[^"]+":\[' | tr -d '":[' | grep -vx default || true)
# The list is compared with Cargo.toml, in case cargo's output changes.
written=$(awk '/^\[/ { features = $0 == "[features]" } features && /^[a-z0-9_-]+ = / { print $1 }' \
    Cargo.toml | grep -vx default || true)
if [ "$(sort <<<"$features")" != "$(sort <<<"$written")" ]; then
    printf 'cargo metadata and Cargo.toml disagree about the features:\n%s\n--\n%s\n' \
        "$features" "$written"
    exit 1
fi

# The rows of README.md's table of features; a row may name several.
told=$(awk -F'|' '/^## / { features = $0 == "## Features" } features && /^\| `/ { print $2 }' README.md |
    tr -s '`, ' '\n' | grep . || true)
if [ "$(sort <<<"$features")" != "$(sort <<<"$told")" ]; then
    printf "README.md's table does not have the features of Cargo.toml:\n%s\n" \
        "$(diff <(sort <<<"$features") <(sort <<<"$told") || true)"
    exit 1
fi

build() {
    echo "cargo check --lib $*"
    cargo check --quiet --lib --locked "$@"
}

build --no-default-features
for feature in $features; do
    build --no-default-features --features "$feature"
done
build --all-features
