#!/usr/bin/env bash
# Names what would break users since a revision, by cargo-semver-checks; fails if the version does not admit it.
#
# Nothing is published yet, so the baseline is a revision of this repository: the last tag, or the one given.
# Without the tool, or without a tag, it says so and checks nothing.
# Usage: ci/semver.sh [REVISION]
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo semver-checks --version >/dev/null 2>&1; then
    echo "skipped: no cargo-semver-checks (cargo install cargo-semver-checks --locked)"
    exit 0
fi
baseline="${1:-$(git describe --tags --abbrev=0 2>/dev/null || true)}"
if [ -z "$baseline" ]; then
    echo "skipped: no tag to compare with; name a revision"
    exit 0
fi
echo "against $baseline"
cargo semver-checks --baseline-rev "$baseline" --all-features --package repool
