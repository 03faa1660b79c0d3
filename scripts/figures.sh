#!/usr/bin/env bash
# The figures of the README: Stentor beside the bare loop, server on core 0, generator on core 1, interleaved runs.
# scripts/figures.sh [--rounds N] [--seconds S] [--server CMD] [--out FILE] [FIGURE ...]
# Before and after a change: two server binaries in turn, and the ratios of their medians.
# scripts/figures.sh --pair OLD_SERVER NEW_SERVER [--rounds N] [--seconds S] [FIGURE ...]; --pair A B --list names the figures
set -euo pipefail
HELP_BY=figures.py . "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
# The servers of a pair are built already.
if [[ " $* " == *" --pair "* ]]; then what=(-p stentor-bench); else what=(--workspace); fi
cargo build --release --quiet "${what[@]}"
exec python3 scripts/figures.py "$@"
