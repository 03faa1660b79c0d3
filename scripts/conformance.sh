#!/usr/bin/env bash
# The 517 Autobahn cases against the real server: by PyPI's kosoku, and with --original by autobahntestsuite (Python 2.7) too.
# scripts/conformance.sh [--original] [--binary PATH] [--out FOLDER]
set -euo pipefail
HELP_BY=conformance.py . "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
scripts/setup.sh
cargo build --quiet
exec .venv/bin/python scripts/conformance.py "$@"
