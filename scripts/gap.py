#!/usr/bin/env python3
"""What becomes of connects while one of two processes that listen on a port goes.

Runs in a network namespace of its own, so no setting of the host is touched (needs root):

    unshare --net scripts/gap.py

A steady stream of connects meets a server of two SO_REUSEPORT listeners. Again and again a second
server starts beside it, and the first one lets its listeners go, in one of these ways:

    closed   it closes them
    emptied  it accepts until nobody waits, then closes them
    shared   both servers hold the same sockets; it only stops accepting

each with net.ipv4.tcp_migrate_req off and on, on loopback and over a path of 40 ms there and back.
"""

import argparse
import collections
import errno
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time

PORT = 9001
RESTARTS = 10
DELAY_S = 0.02
SLOW_SERVER, SLOW_CLIENT = "10.9.0.1", "10.9.0.2"
PATHS = [("127.0.0.1", "127.0.0.1", 2000), (SLOW_SERVER, SLOW_CLIENT, 1000)]


def listener(host):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, PORT))
    sock.listen(4096)
    sock.setblocking(False)
    return sock


def serve(host, how, fds):
    """Answers every byte; lets its listeners go at the end of standard input, and ends later."""
    listeners = [socket.socket(fileno=int(fd)) for fd in fds.split(",")] if fds else []
    listeners = listeners or [listener(host) for _ in range(2)]
    poll = select.epoll()
    for sock in [*listeners, sys.stdin]:
        poll.register(sock, select.EPOLLIN)
    waiting = {sock.fileno(): sock for sock in listeners}
    clients = {}

    def accept(sock):
        while True:
            try:
                client, _ = sock.accept()
            except OSError:
                return
            clients[client.fileno()] = client
            poll.register(client, select.EPOLLIN)

    print("ready", flush=True)
    end = None
    while end is None or time.monotonic() < end:
        gone = []
        for fd, _ in poll.poll(0.1):
            if fd in waiting:
                accept(waiting[fd])
            elif fd == 0:
                poll.unregister(0)
                for sock in waiting.values():
                    poll.unregister(sock)
                    if how == "emptied":
                        accept(sock)
                    sock.close()
                waiting, end = {}, time.monotonic() + 2
            elif fd in clients:
                try:
                    said = clients[fd].recv(64)
                except OSError:
                    said = b""
                if said:
                    clients[fd].send(said)
                else:
                    # Closed after the round: its number must not come up again within it.
                    gone.append(clients.pop(fd))
        for client in gone:
            client.close()


def stream(host, rate, seconds):
    """Connects at a rate, says a byte, hears it; counts what came of each."""
    rate, began = float(rate), time.monotonic()
    end, count, found = began + float(seconds), 0, collections.Counter()
    poll, under_way = select.epoll(), {}
    while time.monotonic() < end or (under_way and time.monotonic() < end + 5):
        while (now := time.monotonic()) < end and count < (now - began) * rate:
            sock = socket.socket()
            sock.setblocking(False)
            # No port waits for stragglers.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if host.startswith("127."):
                sock.bind((f"127.0.0.{2 + count % 8}", 0))
            sock.connect_ex((host, PORT))
            count += 1
            under_way[sock.fileno()] = (sock, False)
            poll.register(sock, select.EPOLLOUT)
        for fd, _ in poll.poll(0.002):
            sock, asked = under_way[fd]
            try:
                failed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if failed:
                    raise OSError(failed, "")
                if not asked:
                    sock.send(b"x")
                    under_way[fd] = (sock, True)
                    poll.modify(fd, select.EPOLLIN)
                    continue
                found["answered" if sock.recv(8) == b"x" else "ended"] += 1
            except OSError as error:
                found[errno.errorcode[error.errno]] += 1
            poll.unregister(fd)
            del under_way[fd]
            sock.close()
    found["nothing"] += len(under_way)
    print(count, " ".join(f"{what}={n}" for what, n in sorted(found.items()) if n))


def slow_path():
    """A device that sends every packet back 20 ms later, source and destination exchanged."""
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH", b"slow", 0x1001))
    for line in ("link set lo up", f"addr add {SLOW_SERVER}/24 dev slow", "link set slow up"):
        subprocess.check_call(["ip", *line.split()])
    if os.fork():
        return
    queue = collections.deque()
    parent = os.getppid()
    while os.getppid() == parent:
        patience = max(0, queue[0][0] - time.monotonic()) if queue else 1
        if select.select([tun], [], [], patience)[0]:
            packet = bytearray(os.read(tun, 2000))
            if packet[0] >> 4 == 4:
                packet[12:16], packet[16:20] = packet[16:20], packet[12:16]
                queue.append((time.monotonic() + DELAY_S, packet))
        while queue and queue[0][0] <= time.monotonic():
            os.write(tun, queue.popleft()[1])
    os._exit(0)


def start(host, how, shared):
    fds = [sock.fileno() for sock in shared]
    command = [sys.executable, __file__, "serve", host, how, ",".join(map(str, fds))]
    pipe = subprocess.PIPE
    server = subprocess.Popen(command, stdin=pipe, stdout=pipe, pass_fds=fds)
    server.stdout.readline()
    return server


def measure(server_host, client_host, rate, how, migrate):
    with open("/proc/sys/net/ipv4/tcp_migrate_req", "w", encoding="ascii") as setting:
        setting.write(str(migrate))
    shared = [listener(server_host) for _ in range(2)] if how == "shared" else []
    servers = [start(server_host, how, shared)]
    seconds = RESTARTS * 0.6 + 1
    command = [sys.executable, __file__, "stream", client_host, str(rate), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as connects:
        time.sleep(0.5)
        for _ in range(RESTARTS):
            servers.append(start(server_host, how, shared))
            time.sleep(0.3)
            servers[-2].stdin.close()
            time.sleep(0.2)
        told = connects.stdout.read().strip()
    servers[-1].stdin.close()
    for server in servers:
        server.wait()
    for sock in shared:
        sock.close()
    path = "loopback" if client_host == server_host else "40 ms"
    print(f"{path:9} {how:8} migrate_req={migrate} {rate}/s, {RESTARTS} restarts: {told}")


def main():
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    # Only this program itself starts its parts.
    parser.add_argument("part", nargs="*", help=argparse.SUPPRESS)
    parser.parse_args()
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    elif sys.argv[1:2] == ["stream"]:
        stream(*sys.argv[2:])
    else:
        slow_path()
        for server_host, client_host, rate in PATHS:
            for how in ("closed", "emptied", "shared"):
                for migrate in (0, 1):
                    measure(server_host, client_host, rate, how, migrate)


if __name__ == "__main__":
    main()
