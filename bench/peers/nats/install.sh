#!/usr/bin/env bash
# nats-server from Debian.
set -euo pipefail
. "$(dirname "$0")/../../../scripts/help.sh"
cd "$(dirname "$0")"
. ../debian.sh
need_packages nats-server
