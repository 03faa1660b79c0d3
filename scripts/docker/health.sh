#!/bin/bash
# The image's health check: asks /health of the address in STENTOR_LISTEN, from inside. Exit 0 alive,
# 1 not. Without curl, which the image does not have.
case "${1:-}" in
  -h | --help)
    sed -n '2,3s/^# //p' "$0"
    exit 0
    ;;
esac

address=${STENTOR_LISTEN:-127.0.0.1:9001}
case "$address" in
  # Nothing here can speak to a Unix socket: the proxy in front of it must look.
  unix:*) exit 0 ;;
  *:*) ;;
  *) address=:$address ;;
esac
port=${address##*:} host=${address%:*}
case "$host" in
  '' | '*' | 0.0.0.0) host=127.0.0.1 ;;
  '[::]') host=::1 ;;
esac
host=${host#[} host=${host%]}

exec 2>/dev/null 3<>"/dev/tcp/$host/$port" || exit 1
printf 'GET /health HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$address" >&3
read -r -t 3 line <&3
[[ $line == 'HTTP/1.1 200 '* ]]
