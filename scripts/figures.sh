#!/usr/bin/env bash
# The figures of the README: Stentor beside the bare loop, server on core 0, generator on core 1, interleaved runs.
# scripts/figures.sh [--rounds N] [--seconds S] [--server CMD] [--out FILE] [FIGURE ...]
set -euo pipefail
HELP_BY=figures.py . "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
cargo build --release --quiet --workspace
exec python3 scripts/figures.py "$@"
