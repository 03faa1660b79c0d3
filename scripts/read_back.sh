#!/usr/bin/env bash
# HdrHistogram itself, the Java original, reads the files of a real run and finds in them what the run's record says.
# Debian; needs to be root only where libhdrhistogram-java is missing. scripts/read_back.sh [SECONDS, 10 if not said]
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
if [ ! -e /usr/share/java/hdrhistogram.jar ] || ! command -v java >/dev/null; then
  echo "read_back: apt-get install libhdrhistogram-java default-jre-headless"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    libhdrhistogram-java default-jre-headless >/dev/null
fi
cargo build --release --quiet -p stentor -p stentor-bench
exec python3 scripts/read_back.py "$@"
