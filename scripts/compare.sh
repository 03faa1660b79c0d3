#!/usr/bin/env bash
# Stentor, the bare loop and the peers of bench/peers under the same loads, interleaved: a Markdown table, out/compare.html with the
# latencies, out/compare.json with what both are made of, and the record of every run in out/compare/.
# scripts/compare.sh [--rounds N] [--seconds S] [--clients N] [--rate R] [--install] [PEER ...]
set -euo pipefail
HELP_BY=compare.py . "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
cargo build --release --quiet --workspace
exec python3 scripts/compare.py "$@"
