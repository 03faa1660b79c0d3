"""JSON clients over bare sockets, for what is read from the server and not from its clients."""

import json
import socket
import struct

REQUEST = (
    "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: stentor.v1\r\n\r\n"
)


class Client:
    """One JSON client. Its `shard` is the first part of the id that the server gives it."""

    def __init__(self, port, path="/ws"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")
        self.socket.sendall(REQUEST.format(path).encode())
        while self.stream.readline().strip():
            pass
        self.shard = json.loads(self.until("welcome"))["client"].split("-")[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def say(self, **message):
        self.socket.sendall(masked(json.dumps(message).encode()))

    def until(self, kind):
        """Returns the next message of a type, and leaves out all before it."""
        while True:
            payload = self.read()
            if json.loads(payload)["type"] == kind:
                return payload

    def read(self):
        length = self.stream.read(2)[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self.stream.read(2))
        return self.stream.read(length)


def masked(payload):
    """A text frame of a client, under a mask of zeros."""
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else bytes([0xFE]) + struct.pack(">H", len(payload))
    return b"\x81" + length + bytes(4) + payload
