#!/usr/bin/env bash
# Runs Debian's Prometheus against a server on loopback: with the alert rules and the dashboard of this folder, all of
# whose queries it tries. Installs the package prometheus where it is missing, and starts no service that comes with it.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  "") ;;
  -h | --help)
    echo "usage: scripts/prometheus.sh"
    echo "Installs Debian's prometheus where it is missing, starts a server and Prometheus on free ports of loopback, puts a"
    echo "little load on the server, and checks that Prometheus reads it, loads the rules and answers every query of"
    echo "scripts/prometheus/alerts.yml and scripts/grafana/stentor.json. STENTOR=PATH names a server that is built already."
    exit 0
    ;;
  *)
    echo "prometheus: unknown argument '$1': try --help" >&2
    exit 2
    ;;
esac

if ! command -v prometheus >/dev/null 2>&1 || ! command -v promtool >/dev/null 2>&1; then
  # shellcheck source=bench/peers/debian.sh
  . bench/peers/debian.sh
  need_packages prometheus
fi
if [ -z "${STENTOR:-}" ]; then
  echo "prometheus: cargo build"
  cargo build --quiet
  STENTOR=target/debug/stentor
fi
promtool check config scripts/prometheus/prometheus.yml
promtool test rules scripts/prometheus/alerts.test.yml
python3 scripts/prometheus/try.py "$STENTOR"
