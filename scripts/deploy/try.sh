#!/usr/bin/env bash
# Starts nginx, HAProxy and Caddy with the configurations of this folder, each in front of a real
# server, and sends real clients through them. try.sh [nginx|haproxy|caddy]...; all unless told.
# Installs those of them that are missing from Debian, as root, and says so first. Listens on
# loopback addresses only; takes STENTOR, or builds it.
set -euo pipefail

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  sed -n '2,5s/^# //p' "$0"
  exit 0
fi
for name in "$@"; do
  case "$name" in
    nginx|haproxy|caddy) ;;
    *) echo "try: $name is none of nginx, haproxy, caddy" >&2; exit 2 ;;
  esac
done
cd "$(dirname "$0")/../.."
if [ $# -eq 0 ]; then set -- nginx haproxy caddy; fi

missing=()
for name in "$@"; do
  if ! PATH="$PATH:/usr/sbin" command -v "$name" >/dev/null; then missing+=("$name"); fi
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "try: installs ${missing[*]} from Debian; they are not started as services" >&2
  sudo=""
  if [ "$(id -u)" -ne 0 ]; then sudo="sudo"; fi
  $sudo apt-get update -qq
  # A policy that starts nothing: each is run here with a configuration of its own.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod +x "$policy"
    trap '$sudo rm -f "$policy"' EXIT
  fi
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >/dev/null
fi
if [ -z "${STENTOR:-}" ]; then
  cargo build --quiet
  export STENTOR=target/debug/stentor
fi
python3 scripts/deploy/try.py "$@"
