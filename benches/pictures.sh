#!/usr/bin/env bash
# Draws the README's pictures from a run of `compare` on this machine, which should be idle.
#
# Takes about three minutes. Prints the tables of the same run, whose machine and figures belong
# beside the pictures. Usage: benches/pictures.sh [OPTION OF COMPARE ...]
set -euo pipefail
cd "$(dirname "$0")/.."
cargo run --release --locked --example compare -- --pictures benches "$@"
