#!/usr/bin/env bash
# Memory and descriptors over a long run at a steady load with churn, or the death of half of all clients.
# scripts/soak.sh [--minutes 30] [--clients N] [--rate R] [--lives N] [--out DIR]
# scripts/soak.sh halve [--clients 16000] [--rate R]
set -euo pipefail
by=soak.py
if [ "${1:-}" = halve ]; then by=halve.py; fi
HELP_BY=$by . "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
cargo build --release --quiet --workspace
if [ "${1:-}" = halve ]; then
  shift
  exec python3 scripts/halve.py "$@"
fi
exec python3 scripts/soak.py "$@"
