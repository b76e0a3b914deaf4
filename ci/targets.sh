#!/usr/bin/env bash
# Builds the library for other systems and processors, and runs the tests under emulation where possible.
#
# docs/verification.md says what each target falls back to. A target whose standard library, linker or emulator is
# missing is skipped with a message (rustup target add TARGET; apt-get install qemu-user gcc-aarch64-linux-gnu
# gcc-s390x-linux-gnu gcc-i686-linux-gnu libc6-i386 lib32gcc-s1). Emulation on x86-64 shows layouts, word sizes, byte
# order and system calls. It does not show Arm's weak memory order, which the loom models and Miri cover.
# Usage: ci/targets.sh [check | emulate [TARGET]]
set -euo pipefail
cd "$(dirname "$0")/.."
base="${CARGO_TARGET_DIR:-$PWD/target}"
installed=$(rustup target list --installed 2>/dev/null || true)
failed=0 ran=0

# has TARGET: whether its standard library is installed.
has() {
    grep -qx "$1" <<<"$installed" && return
    echo "== $1: SKIPPED, no standard library"
    return 1
}

check() {
    local target
    export CARGO_TARGET_DIR="$base/targets"
    for target in aarch64-unknown-linux-gnu i686-unknown-linux-gnu s390x-unknown-linux-gnu aarch64-apple-darwin \
        x86_64-unknown-freebsd x86_64-pc-windows-gnu wasm32-unknown-unknown wasm32-wasip1; do
        has "$target" || continue
        ran=$((ran + 1))
        if cargo check --quiet --lib --locked --target "$target" --no-default-features &&
            cargo check --quiet --lib --locked --target "$target" --all-features; then
            echo "== $target: builds"
        else
            echo "== $target: FAILED"
            failed=1
        fi
    done
}

# Makes a package of the tests that need few other packages, none of them in C, and prints its path.
package() {
    local package="$base/programs/emulated" root=$PWD test
    mkdir -p "$package/src"
    : >"$package/src/lib.rs"
    cp Cargo.lock "$package/Cargo.lock"
    cat >"$package/Cargo.toml" <<TOML
[package]
name = "emulated"
version = "0.0.0"
edition = "2024"
publish = false

[features]
default = ["bytes", "bumpalo"]
bytes = []
bumpalo = []

[dependencies]
repool = { path = "$root" }
bumpalo = { version = "3.20.4", features = ["allocator-api2", "collections"] }
bytes = "1.10"
libc = "0.2.150"
proptest = { version = "1.5", default-features = false, features = ["std"] }
static_assertions = "1.1"

[workspace]
TOML
    for test in miri auto_traits gate it ports weights; do
        local path="$root/tests/$test.rs"
        [ -e "$path" ] || path="$root/tests/$test/main.rs"
        printf '\n[[test]]\nname = "%s"\npath = "%s"\n' "$test" "$path" >>"$package/Cargo.toml"
    done
    echo "$package"
}

# one TARGET LINKER RUNNER
one() {
    local target=$1 linker=$2 runner=$3 name start=$SECONDS
    has "$target" || return 0
    for name in "$linker" "${runner%% *}"; do
        if [ -n "$name" ] && ! command -v "$name" >/dev/null; then
            echo "== $target: SKIPPED, no $name"
            return 0
        fi
    done
    ran=$((ran + 1))
    name=${target^^}
    name=${name//-/_}
    if env CARGO_TARGET_DIR="$base/targets" "CARGO_TARGET_${name}_LINKER=$linker" \
        ${runner:+"CARGO_TARGET_${name}_RUNNER=$runner"} \
        cargo test --no-fail-fast --target "$target" --manifest-path "$(package)/Cargo.toml" -- \
        --skip every_stated_bound_names_tests_that_exist; then
        echo "== $target: passed in $((SECONDS - start)) s"
    else
        echo "== $target: FAILED in $((SECONDS - start)) s"
        failed=1
    fi
}

emulate() {
    local target=${1:-all}
    case "$target" in all | i686*)
        one i686-unknown-linux-gnu i686-linux-gnu-gcc "" ;;
    esac
    case "$target" in all | aarch64*)
        one aarch64-unknown-linux-gnu aarch64-linux-gnu-gcc "qemu-aarch64 -L /usr/aarch64-linux-gnu" ;;
    esac
    case "$target" in all | s390x*)
        one s390x-unknown-linux-gnu s390x-linux-gnu-gcc "qemu-s390x -L /usr/s390x-linux-gnu" ;;
    esac
}

case "${1:-all}" in
check) check ;;
emulate) emulate "${2:-all}" ;;
all)
    check
    emulate
    ;;
*)
    echo "no step $1"
    exit 1
    ;;
esac
if [ "$ran" -eq 0 ]; then
    echo "skipped: nothing could run here"
fi
[ "$failed" -eq 0 ]
