#!/usr/bin/env bash
# Go and gorilla/websocket from Debian, and the hub built with them, offline.
set -euo pipefail
. "$(dirname "$0")/../../../scripts/help.sh"
cd "$(dirname "$0")"
. ../debian.sh
need_packages golang-go golang-github-gorilla-websocket-dev

# Debian's Go packages lie in a GOPATH; without cgo no C compiler is needed.
export GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$PWD/target/cache" CGO_ENABLED=0
if [ ! -x target/hub ] || [ hub.go -nt target/hub ]; then go build -o target/hub hub.go; fi
