#!/usr/bin/env bash
# stentor-bench on two hosts: this one, and a guest that QEMU runs with a kernel, a boot and a clock of its own,
# behind a tap device. Boots it, has scripts/second_host.py drive loads from both, and shuts it down again.
# Debian on x86-64, as root; downloads a kernel, and installs QEMU where it is missing. scripts/second_host.sh
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

room=target/second-host
tap=stentor-guest here=198.18.0.1 there=198.18.0.2
kernel_package=linux-image-cloud-amd64
# In the order in which they are loaded.
modules="virtio/virtio_ring virtio/virtio virtio/virtio_pci_modern_dev virtio/virtio_pci_legacy_dev virtio/virtio_pci
  core/failover net/net_failover net/virtio_net"
if ip link show dev "$tap" >/dev/null 2>&1; then
  echo "second host: there is a $tap already, of another run" >&2
  exit 1
fi

packages=()
need() { command -v "$1" >/dev/null || packages+=("$2"); }
need qemu-system-x86_64 qemu-system-x86
need busybox busybox-static
need ip iproute2
if [ "${#packages[@]}" -gt 0 ]; then
  echo "second host: apt-get install ${packages[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
mkdir -p "$room"
if ! compgen -G "$room/kernel/boot/vmlinuz-*" >/dev/null; then
  name=$(apt-cache depends "$kernel_package" | sed -n 's/ *Depends: //p' | head -1)
  echo "second host: apt-get download $name"
  (cd "$room" && apt-get download -qq "$name" 2>/dev/null && dpkg -x "$name"_*.deb kernel && rm "$name"_*.deb)
fi
cargo build --release --quiet -p stentor -p stentor-bench

# All that the guest has: busybox, the tool with its libraries, the network card's modules, and what starts them.
guest="$room/guest"
token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
rm -rf "$guest"
mkdir -p "$guest"/{bin,modules,proc,sys,dev}
cp "$(command -v busybox)" target/release/stentor-bench "$guest/bin"
ldd target/release/stentor-bench | grep -o '/[^ ]*' | while read -r library; do
  install -D "$library" "$guest$library"
done
for module in $modules; do
  find "$room/kernel/lib/modules" -path "*/$module.ko" -exec cp {} "$guest/modules" \;
done
cat > "$guest/init" <<END
#!/bin/busybox sh
export PATH=/bin STENTOR_BENCH_TOKEN=$token
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(echo $modules); do insmod /modules/\${module##*/}.ko; done
hostname second-host
ip link set lo up
ip addr add $there/30 dev eth0
ip link set eth0 up
ulimit -n 20000
# Whoever asks is told how long this host is up: a second word on its clock.
nc -ll -p 7001 -e cat /proc/uptime &
stentor-bench agent --listen 0.0.0.0:7000
poweroff -f
END
chmod +x "$guest/init"
(cd "$guest" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 > "$room/guest.gz"

end() {
  local pid
  pid=$(cat "$room/pid" 2>/dev/null) || pid=""
  # An orphan that has ended stays a zombie where process 1 waits for nobody; a zombie has no command line.
  while [ -n "$pid" ] && [ -n "$(tr -d '\0' 2>/dev/null <"/proc/$pid/cmdline")" ]; do
    kill "$pid" 2>/dev/null || true
    sleep 0.1
  done
  rm -f "$room/pid"
}
rm -f "$room/pid"
trap 'end; ip link del "$tap"' EXIT
ip tuntap add dev "$tap" mode tap
ip addr add "$here/30" dev "$tap"
ip link set "$tap" up

boot() {
  : > "$room/serial.log"
  # What it says itself, and what the shell says of its end, is kept for whoever asks why it does not come up.
  {
    qemu-system-x86_64 "$@" -m 512 -nodefaults -no-reboot -display none -serial "file:$room/serial.log" \
      -kernel "$room"/kernel/boot/vmlinuz-* -initrd "$room/guest.gz" -append "console=ttyS0 quiet panic=-1" \
      -netdev "tap,id=net,ifname=$tap,script=no,downscript=no" -device virtio-net-pci,netdev=net,romfile= \
      -qmp "unix:$room/qmp,server=on,wait=off" -daemonize -pidfile "$room/pid" || return 1
  } 2> "$room/qemu.log"
  for _ in $(seq 300); do
    if grep -q 'listening on' "$room/serial.log"; then return 0; fi
    sleep 0.1
  done
  end
  return 1
}
# Some hosts have /dev/kvm, and no more than that.
if [ -w /dev/kvm ] && boot -accel kvm -cpu host; then
  echo "second host: it runs on this processor (kvm)"
elif boot -accel tcg -cpu max; then
  echo "second host: its processor is emulated (tcg), and slow"
else
  echo "second host: the guest does not come up: $room/serial.log, $room/qemu.log" >&2
  exit 1
fi
STENTOR_BENCH_TOKEN="$token" python3 scripts/second_host.py "$here" "$there" "$room"
