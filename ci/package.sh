#!/usr/bin/env bash
# Tests the crates as crates.io will have them: packaged, and unpacked elsewhere without the repository.
#
# A dry run of publishing must not warn. What it packages is unpacked below the target directory, without the
# repository around it; its tests with all features, its doctests and an example run there. Nothing is published yet, so
# the derive crate beside it stands in for that of the registry. The readme must not link to files, because a registry
# page does not have them; its pictures need `repository` in Cargo.toml, which a release has to set. ci/nightly.sh runs
# this, because it runs the whole suite once more.
# Usage: ci/package.sh [--allow-dirty] [-- OPTION OF CARGO TEST ...]   (instead of all tests: -- --test observe)
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-$PWD/target}"
work="$target/unpacked"
failed=0 dirty=()
if [ "${1:-}" = --allow-dirty ]; then
    dirty=(--allow-dirty)
    shift
fi
if [ "${1:-}" = -- ]; then
    shift
fi

# Pictures may have relative paths: crates.io resolves them through `repository`.
pictures='!\[[^]]*\]\(benches/[a-z]+\.svg\)'
links=$(grep -nE '\]\([^)#]+\)|^\[[^]]+\]: ' README.md | grep -vE "\]\(https?://[^)]+\)|\]: https?://|$pictures" || true)
if [ -n "$links" ]; then
    printf 'FAILED: links of README.md that a registry page does not resolve:\n%s\n' "$links"
    failed=1
fi
if grep -qE "$pictures" README.md && ! grep -q '^repository = ' Cargo.toml; then
    echo "WARNING: README.md shows pictures of the repository. A release has to set \`repository\` in Cargo.toml, or crates.io cannot show them."
fi

log="$target/package.log"
rm -rf "$target/package"
mkdir -p "$target"
cargo publish --dry-run --workspace --locked "${dirty[@]}" 2>&1 | tee "$log" | grep -E '^(error|warning| *Packaged| *Verifying)' || true
if grep -q '^error' "$log"; then
    cat "$log"
    exit 1
fi
if grep '^warning' "$log" | grep -qv 'aborting upload due to dry run'; then
    echo "FAILED: a dry run of publishing warns"
    failed=1
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
for crate in repool repool-derive; do
    grep -q "Uploading $crate v$version" "$log" || { echo "FAILED: $crate would not be published"; exit 1; }
done

# Elsewhere: no file of the repository is above or beside it.
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
for crate in repool repool-derive; do
    # Some versions of cargo leave the packages of a dry run in a folder of their own.
    file=$(find "$target/package" -name "$crate-$version.crate" | head -n 1)
    [ -n "$file" ] || { echo "FAILED: no package of $crate below $target/package"; exit 1; }
    tar -xzf "$file" -C "$elsewhere"
done
cd "$elsewhere/repool-$version"
export CARGO_TARGET_DIR="$work"
stand_in=(--config "patch.crates-io.repool-derive.path=\"$elsewhere/repool-derive-$version\"")
# tests/ui.rs runs cargo below the target directory, where only a file tells it.
mkdir -p "$work/.cargo"
printf '[patch.crates-io]\nrepool-derive.path = "%s"\n' "$elsewhere/repool-derive-$version" >"$work/.cargo/config.toml"
cargo test --quiet --no-fail-fast "${stand_in[@]}" --all-features "$@"
cargo run --quiet "${stand_in[@]}" --example arena_request
echo "packaged, unpacked and tested: repool $version"
exit "$failed"
