#!/usr/bin/env bash
# A step of a script that goes on after a failure; to be sourced. Sets failed=1 where a step fails.
set -euo pipefail
# shellcheck disable=SC2034 # the script that sources this reads it
failed=0

# step NAME COMMAND...
step() {
    local name=$1 start=$SECONDS
    shift
    if "$@"; then
        echo "== $name: passed in $((SECONDS - start)) s"
    else
        echo "== $name: FAILED in $((SECONDS - start)) s"
        # shellcheck disable=SC2034
        failed=1
    fi
}
