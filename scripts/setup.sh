#!/usr/bin/env bash
# Installs what the tests need beside Rust: packages of Python and npm as tests/clients lists them, Chromium, and the languages of the guide.
# Does nothing where everything is there. Debian, as root or with sudo.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

sudo=""
if [ "$(id -u)" -ne 0 ]; then sudo="sudo"; fi

packages=()
need() { command -v "$1" >/dev/null 2>&1 || packages+=("$2"); }
need git git
need cc build-essential
need curl curl
need python3 python3
need node nodejs
need npm npm
need chromium chromium
# The guide has examples in these languages, and all of them are run.
need php php-cli
need go golang-go
need ruby ruby
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)
if [ "${#packages[@]}" -gt 0 ]; then
  echo "setup: apt-get install ${packages[*]}"
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

# A copy of the list that was installed lies beside the packages: when the list changes they are installed anew.
if ! cmp -s tests/clients/requirements.txt .venv/installed.txt; then
  echo "setup: Python packages into .venv"
  python3 -m venv .venv
  .venv/bin/pip install -q --disable-pip-version-check -r tests/clients/requirements.txt
  cp tests/clients/requirements.txt .venv/installed.txt
fi

scripts/nats.sh

if ! cmp -s tests/clients/package-lock.json tests/clients/node_modules/installed.json; then
  echo "setup: npm packages into tests/clients"
  (cd tests/clients && npm ci --no-audit --no-fund --silent)
  cp tests/clients/package-lock.json tests/clients/node_modules/installed.json
fi
