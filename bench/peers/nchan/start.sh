#!/usr/bin/env bash
# start.sh PORT [CERT KEY]: the server in the foreground, within TLS where a certificate is named.
set -euo pipefail
. "$(dirname "$0")/../../../scripts/help.sh"
cd "$(dirname "$0")"
ulimit -n "$(ulimit -Hn)"
# See README.md: it aborts when it ends, and no core file is wanted.
ulimit -c 0
# Where it is on Debian, which has it in no user's path.
PATH="$PATH:/usr/sbin"
mkdir -p target
tls="" certificate=""
if [ $# = 3 ]; then
  tls=" ssl" certificate="ssl_certificate $2; ssl_certificate_key $3;"
fi
sed "s,PORTTLS,$1$tls,; s,PORT,$1,; s,# Of a run within TLS: .*,$certificate,; s,MODULES,/usr/lib/nginx/modules," \
  nginx.conf >"target/$1.conf"
exec nginx -p "$PWD/target/" -c "$1.conf" -e stderr
