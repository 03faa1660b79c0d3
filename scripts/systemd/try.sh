#!/usr/bin/env bash
# Holds the unit files to their word under a systemd of its own, with debug builds: the first start needs
# no other file; a shard that panics, a kill and a process that hangs are followed by a new start; an
# instance that takes over sends the other away for good and is left alone for a while; a wrong
# configuration is not tried twice; a socket unit starts the server for its first client. As root;
# touches nothing outside a mount namespace.
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

# What only the system's own manager may do is left out. The times of the watchdog are shortened.
for name in stentor.service stentor@.service stentor-by-socket.service; do
  sed -E "s|/usr/bin/stentor|$PWD/target/debug/stentor|; s|serve|serve $flags|; s|/etc/default|$room|
    s|^WatchdogSec=.*|WatchdogSec=3|
    /^(DynamicUser|User|Protect|Private|Restrict[ANR][a-z]*|Limit|SystemCall|NoNew|Lock|MemoryDeny)/d" \
    scripts/systemd/stentor.service > "$units/$name"
done
sed -E 's|^ListenStream=.*|ListenStream=127.0.0.1:19403|' \
  scripts/systemd/stentor.socket > "$units/stentor-by-socket.socket"
mkdir -p "$units/stentor-by-socket.service.d"
printf '[Service]\nEnvironment=STENTOR_PONG_TIMEOUT=5ms\n' \
  > "$units/stentor@wrong.service.d/wrong.conf"
echo "STENTOR_TAKE_OVER_SETTLE=1h" > "$room/stentor@settles"
printf '[Service]\nExecStart=\nExecStart=%s serve --admin off\n' "$PWD/target/debug/stentor" \
  > "$units/stentor-by-socket.service.d/admin.conf"

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
is_now() {
  local what=$1
  shift
  while [ "$#" -gt 0 ]; do
    is "$1" "$2" "$3" || { echo "not so: $what: $2 of $1 is $(show "$1" "$2")" >&2; exit 1; }
    shift 3
  done
  echo "ok: $what"
}
serves() { curl -sf 127.0.0.1:19401/ready >/dev/null; }

eventually "the manager is there" systemctl --user list-units >/dev/null 2>&1
systemctl --user start stentor
serves
echo "ok: it starts without any file, and has started once it serves"
[ -d "$room/run/stentor" ] && [ -d "$room/config/stentor" ]
echo "ok: its directories are there"
tells() { show stentor StatusText | grep -q "0 clients on"; }
eventually "its status is told" tells
curl -s -X POST 127.0.0.1:19402/api/break/0 || true
eventually "after a panic it was started again" is stentor NRestarts 1
eventually "it serves" serves
kill -9 "$(show stentor MainPID)"
eventually "after a kill it was started again" is stentor NRestarts 2
eventually "it serves" serves
kill -STOP "$(show stentor MainPID)"
eventually "a process that hangs was ended and started again" is stentor NRestarts 3
eventually "it serves" serves
echo "STENTOR_TAKE_OVER_SETTLE=0" > "$room/stentor"
systemctl --user start stentor@other
eventually "an instance that took over sent it away" is stentor ActiveState inactive
is_now "which was no failure" stentor Result success
eventually "it serves" serves
systemctl --user start stentor
eventually "and the other way round, with settings from a file" is stentor@other ActiveState inactive
systemctl --user start stentor@settles
eventually "a third one took over" is stentor ActiveState inactive
systemctl --user start stentor || true
is_now "and is left alone for a while" stentor ExecMainStatus 4 stentor ActiveState failed
systemctl --user start stentor@wrong || true
eventually "a wrong configuration fails" is stentor@wrong ActiveState failed
sleep 1.5
is_now "and neither is tried again" stentor@wrong NRestarts 0 stentor NRestarts 0
systemctl --user stop stentor@settles
is_now "it stops cleanly" stentor@settles Result success stentor@settles ActiveState inactive
systemctl --user start stentor-by-socket.socket
is_now "with a socket unit nothing runs yet" stentor-by-socket ActiveState inactive
curl -sf 127.0.0.1:19403/ready >/dev/null
is_now "the first client started it, and was served" stentor-by-socket ActiveState active
systemctl --user stop stentor-by-socket 2>/dev/null
is_now "after a stop the socket stays" stentor-by-socket.socket ActiveState active
curl -sf 127.0.0.1:19403/ready >/dev/null
is_now "and the next client starts it again" stentor-by-socket ActiveState active
systemctl --user stop stentor-by-socket.socket stentor-by-socket
