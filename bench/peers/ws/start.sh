#!/usr/bin/env bash
# start.sh PORT: the server in the foreground.
set -euo pipefail
. "$(dirname "$0")/../../../scripts/help.sh"
cd "$(dirname "$0")"
ulimit -n "$(ulimit -Hn)"
NODE_ENV=production exec node server.mjs "$1"
