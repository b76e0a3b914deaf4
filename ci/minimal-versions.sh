#!/usr/bin/env bash
# Builds and tests the library with the oldest versions of its dependencies that Cargo.toml admits.
#
# In a copy of the tree, each direct dependency is pinned to the lower bound of its requirement. Indirect dependencies
# stay new, as with cargo's -Zdirect-minimal-versions, which needs a nightly. Only the tests of the library, of arenas
# and of buffers run, because the dependencies of other tests need newer versions.
# Usage: ci/minimal-versions.sh
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
tree="${CARGO_TARGET_DIR:-$root/target}/minimal-versions"

mkdir -p "$tree"
find "$tree" -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} +
tar -cf - --exclude=./target --exclude=./benches --exclude=./fuzz --exclude=./examples --exclude=./.git . |
    tar -xf - -C "$tree"
cd "$tree"
unset CARGO_TARGET_DIR
find tests -maxdepth 1 -name '*.rs' ! -name 'arenas*.rs' ! -name 'buffers.rs' -delete
rm -r tests/it

# Prints a Cargo.toml with its dependencies pinned. Keeps the dev-dependencies of these tests. Those that are
# dependencies of the library as well are pinned, too.
pin() {
    awk '
        # "1.10" becomes "=1.10.0", and so does ">=1.10, <3".
        function pinned(line,    at, rest, version) {
            at = match(line, /"[^"]*[0-9][^"]*"/)
            version = substr(line, RSTART + 1, RLENGTH - 2)
            rest = substr(line, RSTART + RLENGTH)
            line = substr(line, 1, at - 1)
            sub(/,.*/, "", version)
            sub(/^[^0-9]*/, "", version)
            while (split(version, parts, ".") < 3) version = version ".0"
            return line "\"=" version "\"" rest
        }
        /^\[/ {
            dependencies = /^\[(target\..*\.)?dependencies\]/
            dev = $0 == "[dev-dependencies]"
            left_out = /^\[(workspace|\[)/
        }
        /^\[workspace\]/ { print "[workspace]\nmembers = [\"derive\"]\n" }
        left_out { next }
        dev && /^[a-z]/ && $1 !~ /^(bumpalo|hashbrown|indexmap|libc|proptest|smallvec|static_assertions|tokio|tokio-util)$/ { next }
        dependencies && /^[a-z][a-z0-9_-]* = / && !/path = / { $0 = pinned($0); direct[$1] = 1 }
        dev && ($1 in direct || $1 == "tokio-util") { $0 = pinned($0) }
        { print }
    ' "$1"
}
pin "$root/Cargo.toml" >Cargo.toml
pin "$root/derive/Cargo.toml" >derive/Cargo.toml

cargo generate-lockfile --quiet
echo "with $(cargo tree --all-features --package repool --package repool-derive --edges normal --depth 1 --prefix none \
    --format '{p}' | awk '/^[a-z]/ && !/^repool/ { printf "%s%s %s", sep, $1, $2; sep = ", " }')"
# The library must also build without dependencies that only tests need.
for features in --no-default-features "" --all-features; do
    # shellcheck disable=SC2086
    cargo check --quiet --lib $features
done
cargo test --quiet --all-features --lib --tests
