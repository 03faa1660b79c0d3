#!/usr/bin/env bash
# start.sh PORT [CERT KEY]: the hub in the foreground, within TLS where a certificate is named.
set -euo pipefail
. "$(dirname "$0")/../../../scripts/help.sh"
cd "$(dirname "$0")"
ulimit -n "$(ulimit -Hn)"
exec target/hub "$@"
