#!/usr/bin/env bash
# Holds the unit file to its word under a systemd of its own, with debug builds: a shard that panics
# and a kill are followed by a new start, an instance that takes over sends the other away for good,
# and a wrong configuration is not tried twice. As root; touches nothing outside a mount namespace.
set -euo pipefail
. "$(dirname "$0")/../help.sh"
cd "$(dirname "$0")/../.."

if [ "${1:-}" != inside ]; then
  cargo build --quiet
  exec unshare --mount "$0" inside
fi

room=$(mktemp -d)
mount -t tmpfs none /run
mkdir -p /run/systemd/system "$room/run" "$room/config/systemd/user/stentor@wrong.service.d"
chmod 700 "$room/run"
export XDG_RUNTIME_DIR="$room/run" XDG_CONFIG_HOME="$room/config"
units="$room/config/systemd/user"
flags="--listen 127.0.0.1:19401 --admin 127.0.0.1:19402 --drain-spread 300ms"

# What only the system's own manager may do is left out.
for name in stentor.service stentor@.service; do
  sed -E "s|/usr/bin/stentor|$PWD/target/debug/stentor|; s|--config [^ ]+||; s|serve|serve $flags|
    /^(DynamicUser|User|Protect|Private|Restrict[ANR][a-z]*|Limit|SystemCall|NoNew|Lock|MemoryDeny)/d" \
    scripts/systemd/stentor.service > "$units/$name"
done
printf '[Service]\nExecStartPre=\nEnvironment=STENTOR_PONG_TIMEOUT=5ms\n' \
  > "$units/stentor@wrong.service.d/wrong.conf"

/lib/systemd/systemd --user --log-target=null &
manager=$!
trap 'kill $manager; wait $manager || true; rm -rf "$room"' EXIT

show() { systemctl --user show "$1" --property "$2" --value; }
eventually() {
  local what=$1
  shift
  for _ in $(seq 200); do
    if "$@"; then
      echo "ok: $what"
      return
    fi
    sleep 0.05
  done
  echo "never: $what" >&2
  exit 1
}
is() { [ "$(show "$1" "$2")" = "$3" ]; }
serves() { curl -sf 127.0.0.1:19401/ready >/dev/null; }

eventually "the manager is there" systemctl --user list-units >/dev/null 2>&1
systemctl --user start stentor
eventually "it serves" serves
curl -s -X POST 127.0.0.1:19402/api/break/0 || true
eventually "after a panic it was started again" is stentor NRestarts 1
eventually "it serves" serves
kill -9 "$(show stentor MainPID)"
eventually "after a kill it was started again" is stentor NRestarts 2
eventually "it serves" serves
systemctl --user start stentor@other
eventually "an instance that took over sent it away" is stentor ActiveState inactive
eventually "it serves" serves
systemctl --user start stentor
eventually "and the other way round" is stentor@other ActiveState inactive
systemctl --user start stentor@wrong || true
eventually "a wrong configuration fails" is stentor@wrong ActiveState failed
sleep 1.5
is stentor@wrong NRestarts 0 && echo "ok: and is not tried again"
systemctl --user stop stentor
is stentor Result success && echo "ok: it stops cleanly"
