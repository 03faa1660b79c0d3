#!/usr/bin/env bash
# Runs the tests of a client library, as its authors wrote them, against the real server, and counts those that pass in each file.
# Needs node, npm, git and the library's repository: a checkout or a clone named with --from, or the public one. Where that cannot be had the
# script says "skipped" and ends with 0. Nothing of the library is kept: it lies in a folder that goes at the end, unless --keep FOLDER names one.
# scripts/upstream.sh centrifuge-js|pusher-js [--from REPOSITORY] [--server BINARY] [--keep FOLDER]
set -euo pipefail
HELP_BY=upstream.py . "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
if [[ " $* " != *" --server "* ]]; then cargo build --quiet; fi
exec python3 scripts/upstream.py "$@"
