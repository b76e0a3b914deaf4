#!/usr/bin/env bash
# Checks that no dependency of the library needs a newer Rust than the library itself.
#
# It checks the versions of the lock file, with all features and without dev-dependencies. For the crate's own code,
# clippy's lint `incompatible_msrv` checks the library calls, and a build with that toolchain checks the language. The
# toolchain is installed if possible.
set -euo pipefail
cd "$(dirname "$0")/.."
ours=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
[ -n "$ours" ] || { echo "Cargo.toml has no rust-version"; exit 1; }

# newer A B: A is a later version than B. 1.85.0 is 1.85.
newer() {
    [ "$(printf '%s\n' "${1%.0}" "${2%.0}" | sort -V | tail -n 1)" != "${2%.0}" ]
}

# Names and versions of what the library is built from.
used=$(cargo tree --locked --all-features --target all -e normal,build --prefix none --format '{p}' |
    awk '{ print $1 " " substr($2, 2) }' | sort -u)
# Name, version and rust-version of every package of the lock file.
asked=$(cargo metadata --format-version 1 --locked --all-features --quiet |
    sed -E 's/\{"name":"[^"]+","version":"[^"]+","id":/\n&/g' |
    sed -nE 's/^\{"name":"([^"]+)","version":"([^"]+)","id":.*"rust_version":(null|"[^"]*").*/\1 \2 \3/p' |
    tr -d '"' | sort -u)

seen=0 failed=0
while read -r name version; do
    wants=$(awk -v n="$name" -v v="$version" '$1 == n && $2 == v { print $3; exit }' <<<"$asked")
    if [ -z "$wants" ]; then
        echo "FAILED: cargo metadata does not list $name $version"
        failed=1
    elif [ "$wants" != null ] && newer "$wants" "$ours"; then
        echo "FAILED: $name $version needs Rust $wants, but Cargo.toml promises $ours"
        failed=1
    fi
    seen=$((seen + 1))
done <<<"$used"
echo "$seen packages checked for Rust $ours"
[ "$seen" -gt 1 ] || { echo "FAILED: that cannot be all packages"; failed=1; }

rustup toolchain install "$ours" --profile minimal --no-self-update >/dev/null 2>&1 || true
# rustup lists the toolchain first, since `cargo +X` may install a missing one.
if rustup toolchain list 2>/dev/null | grep -q "^${ours//./\\.}[.-]"; then
    cargo "+$ours" check --quiet --lib --all-features --locked
    echo "builds with Rust $ours"
else
    echo "Rust $ours is not installed: not built with it"
fi
exit "$failed"
