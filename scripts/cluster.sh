#!/usr/bin/env bash
# Starts a nats-server and three nodes on this machine, and says where they are. Ctrl-C ends all of them.
# Nodes listen on 9001, 9011 and 9021, their admin addresses on 9002, 9012 and 9022. STENTOR names the program; without it target/release/stentor is built.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

scripts/nats.sh
program="${STENTOR:-target/release/stentor}"
if [ -z "${STENTOR:-}" ]; then cargo build --release --bin stentor; fi

folder="$(mktemp -d)"
pids=()
stop() {
  kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$folder"
}
trap stop EXIT
trap 'exit 0' INT TERM

.nats/bin/nats-server -js -a 127.0.0.1 -p "${NATS_PORT:-4222}" -sd "$folder/nats" >"$folder/nats.log" 2>&1 &
pids+=($!)
engine="nats://127.0.0.1:${NATS_PORT:-4222}"
for _ in $(seq 50); do
  "$program" engine init --engine "$engine" 2>/dev/null && break
  sleep 0.1
done

first="${FIRST_PORT:-9001}"
for node in 0 1 2; do
  port=$((first + 10 * node))
  "$program" --listen "127.0.0.1:$port" --admin "127.0.0.1:$((port + 1))" --shards 1 \
    --engine "$engine" --history 100 --recovery "$@" &
  pids+=($!)
  echo "node $((node + 1)): http://127.0.0.1:$port/ (admin http://127.0.0.1:$((port + 1))/)"
done
wait -n || true
echo "cluster: one of the processes has ended" >&2
exit 1
