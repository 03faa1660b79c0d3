#!/usr/bin/env bash
# nats-server from Debian.
set -euo pipefail
cd "$(dirname "$0")"
. ../debian.sh
need_packages nats-server
