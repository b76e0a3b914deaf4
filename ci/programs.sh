#!/usr/bin/env bash
# Makes a package whose tests are tests/miri.rs (or TEST) and whose only dependency is this crate, and prints its path.
#
# For tools that recompile everything, for themselves or for another target: the crate's own tests need a hundred
# packages, some of them in C. With a tree, the dependency is the crate in that tree.
# Usage: ci/programs.sh NAME [TREE [TEST]]
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
package="${CARGO_TARGET_DIR:-$root/target}/programs/$1"
tree="${2:-$root}"
test="${3:-miri}"

mkdir -p "$package/src"
: >"$package/src/lib.rs"
cp Cargo.lock "$package/Cargo.lock"
cat >"$package/Cargo.toml" <<TOML
[package]
name = "programs"
version = "0.0.0"
edition = "2024"
publish = false

[features]
default = ["bytes", "bumpalo"]
bytes = ["repool/bytes"]
bumpalo = ["repool/bumpalo"]

[dependencies]
repool = { path = "$tree", default-features = false }

[[test]]
name = "$test"
path = "$root/tests/$test.rs"

[workspace]
TOML
echo "$package"
