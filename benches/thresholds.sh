#!/usr/bin/env bash
# Counts what the thresholds of `Stats::advice` stand on: instructions for each object, by size.
#
# A pair is a get or an allocation, 64 bytes written, and a drop. Where a hit takes as many as a plain pair, a pool
# saves nothing; of so many hits and misses in 1000 it saves nothing either: the last column, for glibc. Counts are
# exact, so the machine may be busy. Takes two minutes. Usage: benches/thresholds.sh
set -euo pipefail
cd "$(dirname "$0")"
target="${CARGO_TARGET_DIR:-$PWD/target}"
cargo build --quiet --release --locked --bin thresholds

# of CASE BYTES HELD: instructions for each object.
of() {
    valgrind --tool=callgrind --collect-atstart=no --toggle-collect=thresholds_window \
        --callgrind-out-file=/dev/null "$target/release/thresholds" "$@" 2>&1 |
        awk '/Collected :/ { printf "%.0f", $4 / 64000 }'
}

for held in 1 16; do
    echo "$held at once"
    printf '%8s %6s %9s %9s %6s %8s %8s %s\n' bytes glibc mimalloc jemalloc hit refused trimmed "even at"
    for bytes in 64 256 1024 1100 4096 65536; do
        glibc=$(of glibc "$bytes" "$held") hit=$(of hit "$bytes" "$held") refused=$(of refused "$bytes" "$held")
        printf '%8s %6s %9s %9s %6s %8s %8s %s\n' "$bytes" "$glibc" "$(of mimalloc "$bytes" "$held")" \
            "$(of jemalloc "$bytes" "$held")" "$hit" "$refused" "$(of trimmed "$bytes" "$held")" \
            "$(awk -v p="$glibc" -v h="$hit" -v m="$refused" 'BEGIN { printf "%.0f", 1000 * (p - h) / (m - h) }')"
    done
done
