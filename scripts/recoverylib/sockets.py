"""Plain clients on nonblocking sockets, and publications by the API."""

import json
import socket
import urllib.request

HEAD = (
    "GET /ws?channel={} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def ask(admin, method, **params):
    """Returns the result of a request to the API."""
    request = urllib.request.Request(f"http://127.0.0.1:{admin}/api/{method}", json.dumps(params).encode())
    return json.load(urllib.request.urlopen(request))["result"]


def total(admin):
    """Returns the server's counters, summed over its shards."""
    return json.load(urllib.request.urlopen(f"http://127.0.0.1:{admin}/api/stats"))["total"]


def connect(port, channel, query=""):
    """Returns a socket that has sent its request."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(HEAD.format(channel + query).encode())
    sock.setblocking(False)
    return sock
