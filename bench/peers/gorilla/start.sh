#!/usr/bin/env bash
# start.sh PORT: the hub in the foreground.
set -euo pipefail
. "$(dirname "$0")/../../../scripts/help.sh"
cd "$(dirname "$0")"
ulimit -n "$(ulimit -Hn)"
exec target/hub "$1"
