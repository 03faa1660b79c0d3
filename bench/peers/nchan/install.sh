#!/usr/bin/env bash
# nginx and its nchan module from Debian.
set -euo pipefail
. "$(dirname "$0")/../../../scripts/help.sh"
cd "$(dirname "$0")"
. ../debian.sh
need_packages nginx libnginx-mod-nchan
