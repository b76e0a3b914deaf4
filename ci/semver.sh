#!/usr/bin/env bash
# Lists breaking changes since a revision with cargo-semver-checks, and fails if the version does not allow them.
#
# Nothing is published yet, so the baseline is a revision of this repository: the last tag, or the argument. Skipped
# with a message if the tool is missing, or there is no tag.
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
