#!/usr/bin/env bash
# Checks the live page of the example `server` in headless Chromium, under load: it must show the right values.
#
# Skipped with a message if chromium or chromedriver is missing. Leaves screenshots in target/page.
# Usage: ci/page.sh
set -euo pipefail
cd "$(dirname "$0")/.."
for command in chromium chromedriver python3; do
    if ! command -v "$command" >/dev/null; then
        printf '\nSKIPPED: %s is missing, the page is not checked (Debian: chromium, chromium-driver)\n\n' "$command"
        exit 0
    fi
done
target="${CARGO_TARGET_DIR:-$PWD/target}"
cargo build --quiet --locked --example server
python3 ci/page.py "$target/debug/examples/server" "$target/page"
