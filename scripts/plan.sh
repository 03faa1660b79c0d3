#!/usr/bin/env bash
# Capacity planning: how many clients and messages fit on this host, which limit comes first, how many boxes for a target.
# scripts/plan.sh [--target-clients 1M --rate 10/s --bytes 256 --p99 50ms --what-if size=512,rate=20 --html out/plan.html]
# scripts/plan.sh plan|holdout|measure|limits ...    scripts/plan.sh --help
set -euo pipefail
cd "$(dirname "$0")/.."

command -v python3 >/dev/null 2>&1 || { echo "plan: it needs python3" >&2; exit 1; }
# Only what measures needs the binaries. A command comes first; without one it runs all.
case " $* " in *" -h "* | *" --help "*) exec python3 scripts/capacity.py --help ;; esac
case "${1:-run}" in
  run | measure | -*)
    command -v cargo >/dev/null 2>&1 || { echo "plan: it needs cargo, from https://rustup.rs" >&2; exit 1; }
    cargo build --release --quiet --workspace
    ;;
esac
exec python3 scripts/capacity.py "$@"
