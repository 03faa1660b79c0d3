#!/usr/bin/env bash
# start.sh PORT: the server in the foreground.
set -euo pipefail
. "$(dirname "$0")/../../../scripts/help.sh"
cd "$(dirname "$0")"
ulimit -n "$(ulimit -Hn)"
# Elsewhere than in root's path on some systems.
PATH="$PATH:/usr/sbin"
LISTEN="127.0.0.1:$1" exec nats-server --config nats.conf
