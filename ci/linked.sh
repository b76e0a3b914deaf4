#!/usr/bin/env bash
# Tests the crate twice in one process: two versions in one program, and libraries that are opened, used and closed.
#
# A library must stay mapped while its janitor runs, and while threads have to run its thread-local destructors; the C
# library ensures the latter. Each scenario of ci/linked/host.c runs in its own process, which ends by a signal if it
# calls code that is unmapped. Each runs with the process-wide barrier and without it.
# Usage: ci/linked.sh [versions | library]
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work="${CARGO_TARGET_DIR:-$root/target}/linked"
what="${*:-versions library}"

# package NAME DEPENDENCIES TARGET: makes a package from the sources in ci/linked.
package() {
    mkdir -p "$work/$1"
    cp Cargo.lock "$work/$1/Cargo.lock"
    printf '[package]\nname = "%s"\nversion = "0.0.0"\nedition = "2024"\npublish = false\n\n[dependencies]\n%s\n\n%s\n\n[workspace]\n' \
        "$1" "$2" "$3" >"$work/$1/Cargo.toml"
}

# The other version is the same code under another version number, since nothing is published yet.
versions() {
    local before="$work/before" barrier
    rm -rf "$before"
    mkdir -p "$before"
    cp -r README.md src derive "$before"
    # Without the dependencies of its own tests.
    awk '/^\[/ { skip = /dev-dependencies|^\[\[/ } !skip' Cargo.toml |
        sed -E 's/^(version = "|repool-derive = \{ version = "=)0\.1\.0"/\10.0.9"/' >"$before/Cargo.toml"
    sed -i -E 's/^version = "0\.1\.0"/version = "0.0.9"/' "$before/derive/Cargo.toml"
    package two-versions "repool = { path = \"$root\" }
repool_before = { package = \"repool\", path = \"$before\" }
libc = \"0.2\"" "[[bin]]
name = \"two-versions\"
path = \"$root/ci/linked/two.rs\""
    cargo build --quiet --release --manifest-path "$work/two-versions/Cargo.toml" --target-dir "$work/target"
    for barrier in on off; do
        REPOOL_BARRIER=$barrier "$work/target/release/two-versions"
    done
}

library() {
    local scenario barrier failed=0
    package pooled-library "repool = { path = \"$root\" }" "[lib]
crate-type = [\"cdylib\"]
path = \"$root/ci/linked/library.rs\""
    cargo build --quiet --release --manifest-path "$work/pooled-library/Cargo.toml" --target-dir "$work/target"
    cc -O1 -g -Wall -rdynamic -o "$work/host" ci/linked/host.c -ldl -lpthread
    cp "$work/target/release/libpooled_library.so" "$work/libone.so"
    cp "$work/libone.so" "$work/libtwo.so"
    for barrier in on off; do
        for scenario in used_by_main used_by_threads threads_end_later janitor_starts_later \
            pools_are_dropped_first opened_again two_libraries process_ends; do
            if REPOOL_BARRIER=$barrier timeout 60 "$work/host" "$scenario" "$work/libone.so" "$work/libtwo.so"; then
                echo "library: $scenario, barrier $barrier"
            else
                echo "FAILED: $scenario, barrier $barrier: $?"
                failed=1
            fi
        done
    done
    return "$failed"
}

for name in $what; do
    case "$name" in
    versions | library) "$name" ;;
    *)
        echo "no part $name"
        exit 1
        ;;
    esac
done
