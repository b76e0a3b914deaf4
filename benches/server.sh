#!/usr/bin/env bash
# The example `server` under load: plain, thread-local and pooled, on glibc, mimalloc and jemalloc.
#
# Counts first (allocator calls, page faults and instructions of a request), which other work on the machine does
# not change much. Then times: at full speed by wrk, and by the open-loop client `load` at a fixed rate. The
# variants take turns, each in a process of its own. Takes about 20 minutes.
#
# Needs wrk, valgrind for instructions, and Debian's libjemalloc2 for jemalloc, which is preloaded; what is
# missing is left out and said. Usage: benches/server.sh [--help]
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1-}" != --help ]; then
    cargo build --release --locked --example server --example load
fi
exec python3 benches/server.py --programs "${CARGO_TARGET_DIR:-$PWD/target}/release/examples" "$@"
