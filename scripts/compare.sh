#!/usr/bin/env bash
# Stentor, the bare loop and the peers of bench/peers under the same load, interleaved: a Markdown table and out/compare.json.
# scripts/compare.sh [--rounds N] [--seconds S] [--clients N] [--install] [PEER ...]
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --quiet --workspace
exec python3 scripts/compare.py "$@"
