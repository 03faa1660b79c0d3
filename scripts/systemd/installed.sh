#!/usr/bin/env bash
# Installs a Debian package of the server in the clean Debian that it runs in, and looks at all that it brings:
# installed.sh PACKAGE. scripts/deb.sh starts it in a chroot; elsewhere it would change the host, so it refuses.
set -euo pipefail
case "${1:-}" in
  -h | --help) sed -n '2,3s/^# //p' "$0"; exit 0 ;;
  "") echo "installed: which package?" >&2; exit 2 ;;
esac
if [ "$$" -gt 10 ] || [ ! -e /tmp/stentor.deb ]; then
  echo "installed: only in the chroot that scripts/deb.sh makes" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
ok() { echo "ok: $1"; }

dpkg -i "$1" >/dev/null
ok "it is installed, with nothing that it needs missing"
[ -z "$(dpkg --verify stentor)" ]
ok "every file is as it was packed"
version=$(dpkg-query --show --showformat '${Version}' stentor)
case "$version" in "$(stentor --version | cut -d ' ' -f 2)"*) ok "its version is the program's" ;; *) exit 1 ;; esac
dpkg-query --show --showformat '${Conffiles}' stentor | grep -q /etc/stentor/stentor.toml
dpkg-query --show --showformat '${Conffiles}' stentor | grep -q /etc/default/stentor
ok "its configuration is kept over upgrades"
stentor check --config /etc/stentor/stentor.toml >/dev/null
ok "the default configuration is sound"
[ "$(readlink -f /etc/systemd/system/multi-user.target.wants/stentor.service)" = /usr/lib/systemd/system/stentor.service ] ||
  [ "$(readlink -f /etc/systemd/system/multi-user.target.wants/stentor.service)" = /lib/systemd/system/stentor.service ]
[ ! -e /etc/systemd/system/sockets.target.wants ] || [ -z "$(ls /etc/systemd/system/sockets.target.wants | grep stentor)" ]
ok "the unit is enabled, and no other"
systemd-analyze verify --man=no stentor.service stentor@blue.service
ok "systemd has nothing to say of the units"
pages=0
for page in /usr/share/man/man1/stentor*.1*; do
  name=$(basename "$page"); name=${name%%.1*}
  [ "$(man "$name" 2>/dev/null | wc -l)" -gt 5 ]
  pages=$((pages + 1))
done
[ "$pages" -ge 10 ]
ok "there are $pages manual pages, and man shows them"
bash -c '. /usr/share/bash-completion/completions/stentor; complete -p stentor; COMP_WORDS=(stentor doc); COMP_CWORD=1
  _stentor stentor doc stentor; [[ " ${COMPREPLY[*]} " == *" doctor "* ]]' >/dev/null
[ -s /usr/share/zsh/vendor-completions/_stentor ] && [ -s /usr/share/fish/vendor_completions.d/stentor.fish ]
ok "bash completes the commands, and files for zsh and fish are there"

ip link set lo up 2>/dev/null || true
# As the unit starts it, but for the manager, which a chroot has not.
STENTOR_LOG_FORMAT=json stentor serve --listen unix:/tmp/stentor.sock --admin off 2>/tmp/log &
server=$!
for _ in $(seq 100); do
  if grep -q '"ready"' /tmp/log; then break; fi
  sleep 0.1
done
grep -q '"ready"' /tmp/log
kill "$server"
wait "$server"
ok "it serves and drains"

echo '# mine' >>/etc/stentor/stentor.toml
dpkg -i "$1" >/dev/null 2>&1
tail -n 1 /etc/stentor/stentor.toml | grep -q '# mine'
ok "an upgrade leaves a changed configuration alone"
dpkg --remove stentor >/dev/null 2>&1
[ ! -e /usr/bin/stentor ] && [ -e /etc/stentor/stentor.toml ]
dpkg --purge stentor >/dev/null 2>&1
left=$(find /etc /usr /var/lib -name '*stentor*' -not -path '/var/lib/apt/*' 2>/dev/null)
[ -z "$left" ] || { echo "left behind: $left" >&2; exit 1; }
ok "a purge leaves nothing"
