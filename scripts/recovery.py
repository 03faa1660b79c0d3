#!/usr/bin/env python3
"""Cuts many clients at once and has all of them come back for what they missed: how long it takes, and what is lost.

    scripts/recovery.py --clients 10000 --missed 50 --bytes 256

Starts a server of one shard on core 0 (--server BINARY) and runs the clients on core 1. Each client comes back with
`?since=`, and must be told every missed message once and in order.
"""

import argparse
import json
import os
import selectors
import socket
import sys
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from figurelib.server import Server, cpu_seconds, free_port  # noqa: E402

HEAD = (
    "GET /ws?channel=room{} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def publish(admin, count, size):
    """Returns the last position."""
    for number in range(count):
        data = f"{number:08d}".ljust(size, "x")
        body = json.dumps({"channel": "room", "data": data}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{admin}/api/publish", body)
        result = json.load(urllib.request.urlopen(request))["result"]
    return result["epoch"], result["offset"]


def connect(port, query):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(HEAD.format(query).encode())
    sock.setblocking(False)
    return sock


def come_back(port, since, clients, total):
    """Returns the seconds until everybody has as many bytes as are expected, and what they got."""
    selector = selectors.DefaultSelector()
    got, began, done = {}, time.monotonic(), 0
    for _ in range(clients):
        sock = connect(port, f"&since={since[0]}:{since[1]}")
        got[sock] = bytearray()
        selector.register(sock, selectors.EVENT_READ)
    deadline = began + 60
    while done < clients and time.monotonic() < deadline:
        for key, _ in selector.select(1):
            piece = key.fileobj.recv(1 << 16)
            got[key.fileobj] += piece
            body = bytes(got[key.fileobj]).partition(b"\r\n\r\n")[2]
            if not piece or len(body) >= total:
                done += 1
                selector.unregister(key.fileobj)
    return time.monotonic() - began, got


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--server", default="target/release/stentor")
    options.add_argument("--clients", type=int, default=10_000)
    options.add_argument("--missed", type=int, default=50)
    options.add_argument("--bytes", type=int, default=256)
    asked = options.parse_args()
    admin = free_port()
    command = [asked.server, "--listen", "127.0.0.1:PORT", "--admin", f"127.0.0.1:{admin}", "--cores", "0"]
    command += ["--shards", "1", "--history", str(asked.missed), "--recovery", "--history-bytes", "64MiB"]
    with Server(command) as server:
        os.sched_setaffinity(0, {1})
        clients = [connect(server.port, "") for _ in range(asked.clients)]
        for sock in clients:
            sock.setblocking(True)
            sock.recv(4096)
        since = publish(admin, 1, asked.bytes)
        for sock in clients:
            sock.close()
        publish(admin, asked.missed, asked.bytes)
        header = 2 if asked.bytes < 126 else 4
        before = cpu_seconds(server.child.pid)
        seconds, got = come_back(server.port, since, asked.clients, asked.missed * (asked.bytes + header))
        cpu = cpu_seconds(server.child.pid) - before
        wrong = 0
        for stream in got.values():
            head, _, body = bytes(stream).partition(b"\r\n\r\n")
            frames = [body[at + header:at + header + 8] for at in range(0, len(body), asked.bytes + header)]
            expected = [f"{number:08d}".encode() for number in range(asked.missed)]
            wrong += frames != expected or b"Stentor-Recovered: true" not in head
        print(f"{asked.clients} clients, {asked.missed} messages of {asked.bytes} bytes each: {seconds:.2f} s, "
              f"{cpu:.2f} s of CPU of the server, {wrong} clients with anything lost, doubled or out of order")
        sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
