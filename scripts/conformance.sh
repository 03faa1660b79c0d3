#!/usr/bin/env bash
# Runs the 517 Autobahn cases against the real server: the 301 that apply must pass, the 216 of compression are not offered.
# The suite is PyPI's kosoku; with --original, autobahntestsuite (Python 2.7) runs as well.
# --tls runs them within TLS. With compression: --not-offered= --flag=--compression=on, and all 517 must pass.
# scripts/conformance.sh [--original] [--tls] [--not-offered LIST] [--flag FLAG]... [--binary PATH] [--out FOLDER]
set -euo pipefail
HELP_BY=conformance.py . "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
scripts/setup.sh
cargo build --quiet
exec .venv/bin/python scripts/conformance.py "$@"
