#!/usr/bin/env bash
# ws from npm, in the locked version. Node and npm from Debian where there are none.
set -euo pipefail
. "$(dirname "$0")/../../../scripts/help.sh"
cd "$(dirname "$0")"
. ../debian.sh
command -v node >/dev/null 2>&1 || need_packages nodejs
command -v npm >/dev/null 2>&1 || need_packages npm
if [ ! -d node_modules/ws ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo "install: npm ci, the modules of package-lock.json"
  npm ci --no-audit --no-fund --silent
fi
