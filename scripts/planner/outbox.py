"""Clients that do not read: what a byte in an outbox costs in memory.

Each has a channel of its own, so that nothing is shared between outboxes: the dearest case. In one
channel all outboxes share the frames.
"""

import base64
import json
import os
import socket
import urllib.request

from . import machine
from .machine import Failed

# So that the server's buffers fill, and not the kernel's.
BUFFER_BYTES = 4096
MESSAGE_BYTES = 32_000
LEVELS = 5
ROUNDS_A_LEVEL = 8

FLAGS = (
    "--send-buffer-bytes",
    "16KiB",
    "--outbox-bytes",
    "64MiB",
    "--outbox-total-bytes",
    "4GiB",
    "--slow-clients",
    "drop",
    "--write-timeout",
    "600s",
    "--ping-interval",
    "0",
)


def _stalled(url, channel):
    """A client that is connected and then never reads."""
    address, _, path = url.removeprefix("ws://").partition("/")
    name, _, port = address.rpartition(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    client.settimeout(10)
    client.connect((name, int(port)))
    key = base64.b64encode(os.urandom(16)).decode()
    client.sendall(
        f"GET /{path}?channel={channel} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += client.recv(1) or b"\r\n\r\n"
    if not answer.startswith(b"HTTP/1.1 101"):
        client.close()
        raise Failed(f"a client that does not read: {answer.splitlines()[:1]}")
    return client


def _broadcast(admin, channels):
    body = json.dumps({"channels": channels, "data": "x" * MESSAGE_BYTES}).encode()
    request = urllib.request.Request(
        f"http://{admin}/api/broadcast", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        response.read()


def run(server, clients):
    """Bytes in all outboxes and resident bytes of the process, level by level."""
    channels = [f"stalled{number}" for number in range(clients)]
    opened, found = [], []
    try:
        for channel in channels:
            opened.append(_stalled(server.url, channel))
        for _ in range(LEVELS):
            for _ in range(ROUNDS_A_LEVEL):
                _broadcast(server.admin, channels)
            counters = server.counters()
            found.append([counters["outbox_bytes"], machine.resident_bytes(server.pid)])
    except OSError as error:
        raise Failed(f"clients that do not read: {error}") from None
    finally:
        for client in opened:
            client.close()
    return found
