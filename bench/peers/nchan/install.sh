#!/usr/bin/env bash
# nginx and its nchan module from Debian.
set -euo pipefail
cd "$(dirname "$0")"
. ../debian.sh
need_packages nginx libnginx-mod-nchan
