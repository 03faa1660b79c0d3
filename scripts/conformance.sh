#!/usr/bin/env bash
# Runs the 517 Autobahn cases against the real server: the 301 that apply must pass, the 216 of compression are not offered.
# The suite is PyPI's kosoku; with --original, autobahntestsuite (Python 2.7) runs as well.
# scripts/conformance.sh [--original] [--binary PATH] [--out FOLDER]
set -euo pipefail
HELP_BY=conformance.py . "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
scripts/setup.sh
cargo build --quiet
exec .venv/bin/python scripts/conformance.py "$@"
