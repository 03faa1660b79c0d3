"""The part of try.sh that starts servers and proxies, and talks through them. Standard library only."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

FOLDER = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 20
# Not the proxy's own address, so that the two can be told apart.
CLIENT = "127.0.0.7"


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def eventually(what, is_true):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = is_true()
        if found:
            return found
        time.sleep(0.05)
    raise SystemExit(f"try: never: {what}")


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as response:
        return response.status, response.read().decode()


class Client:
    """A WebSocket client from an address of its own, as a browser on the proxy's host would be."""

    def __init__(self, port, path, more=""):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE, (CLIENT, 0))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: chat.example\r\nOrigin: http://chat.example\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{more}\r\n".encode()
        )
        self.bytes = b""
        while b"\r\n\r\n" not in self.bytes:
            self.more()
        head, _, self.bytes = self.bytes.partition(b"\r\n\r\n")
        self.status = int(head[9:12])

    def more(self):
        new = self.socket.recv(4096)
        if not new:
            raise SystemExit("try: the connection ended")
        self.bytes += new

    def send(self, opcode, payload):
        self.socket.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload)

    def next(self):
        while len(self.bytes) < 2 or len(self.bytes) < 2 + self.bytes[1]:
            self.more()
        opcode, length = self.bytes[0] & 15, self.bytes[1]
        payload, self.bytes = self.bytes[2 : 2 + length], self.bytes[2 + length :]
        return opcode, payload

    def hear(self, text):
        """Reads until the text comes, and answers pings; returns how many there were."""
        pings = 0
        while True:
            opcode, payload = self.next()
            if opcode == 9:
                self.send(10, payload)
                pings += 1
            elif opcode == 1:
                assert payload == text, (payload, text)
                return pings


def peers(admin):
    _, body = get(admin, "/api/connections")
    return sorted(one["peer"] for one in json.loads(body)["connections"])


def try_path(name, port, path, admin, more=""):
    client = Client(port, path, more)
    assert client.status == 101, f"{name}: {path} is answered {client.status}"
    client.send(1, b"through it")
    client.hear(b"through it")
    shown = peers(admin)
    assert shown == [CLIENT], f"{name}: {path} comes from {shown}, expected {CLIENT}"
    # Longer than a ping's interval and its time-out together: both must pass.
    begun, pings = time.monotonic(), 0
    while time.monotonic() - begun < 3:
        time.sleep(1.2)
        client.send(1, b"still here")
        pings += client.hear(b"still here")
    assert pings >= 2, f"{name}: {pings} pings in three seconds"
    client.socket.close()
    eventually("the client is gone", lambda: not peers(admin))
    print(f"{name:24} {path:10} 101, echoed, {pings} pings, shown as {CLIENT}{' though it claims otherwise' if more else ''}")


def configured(name, file, ports, folder):
    text = open(os.path.join(FOLDER, file)).read()
    for old, new in ports.items():
        text = text.replace(f":{old}", f":{new}").replace(f"listen {old};", f"listen 127.0.0.1:{new};")
    if name == "nginx":
        text = f"pid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n" + text.replace(
            "http {", "http {\n    access_log off;\n" + "".join(
                f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")), 1)
        text = text.replace("worker_rlimit_nofile 200000;", "").replace("100000", "1000")
    if name == "haproxy":
        text = text.replace("bind :", "bind 127.0.0.1:").replace("maxconn 100000", "maxconn 1000")
    path = os.path.join(folder, file)
    with open(path, "w") as out:
        out.write(text)
    return path


COMMANDS = {
    "nginx": ("nginx.conf", lambda path: ["-c", path, "-g", "daemon off;"]),
    "haproxy": ("haproxy.cfg", lambda path: ["-db", "-f", path]),
    "caddy": ("Caddyfile", lambda path: ["run", "--config", path, "--adapter", "caddyfile"]),
}


def try_proxy(name, unix=False):
    program = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
    listen, admin, web, tcp = free_ports(4)
    file, arguments = COMMANDS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = configured(name, file, {9001: listen, 8080: web, 8081: tcp}, folder)
        public = f"127.0.0.1:{listen}"
        if unix:
            unix_socket = f"{folder}/s.sock"
            text = open(path).read().replace(f"http://{public}", f"http://unix:{unix_socket}:")
            text = text.replace(f"server {public}", f"server unix:{unix_socket}").replace(f" {public}", f" {unix_socket}")
            assert unix_socket in text and public not in text, f"{name}: the address of the server stays in {file}"
            with open(path, "w") as out:
                out.write(text)
            os.chmod(folder, 0o711)
            public = f"unix:{unix_socket}"
        server = subprocess.Popen([
            os.environ["STENTOR"], "serve", "--listen", public, "--admin", f"127.0.0.1:{admin}", "--shards", "1",
            "--trusted-proxies", "unix" if unix else "127.0.0.1", "--unix-mode", "0666", "--proxy-protocol", "optional", "--path-prefix", "/chat",
            "--ping-interval", "1s", "--pong-timeout", "1s", "--max-clients-per-ip", "1", "--log-level", "warn"])
        environment = {**os.environ, "HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
        proxy = subprocess.Popen([program, *arguments(path)], stderr=open(os.path.join(folder, "log"), "w"), env=environment)
        try:
            eventually("the server listens", lambda: answers(admin))
            eventually(f"{name} listens: {open(os.path.join(folder, 'log')).read()}", lambda: answers(web))
            status, page = eventually("the server is found", lambda: found(web, "/"))
            assert status == 200 and "<html" in page, f"{name}: the page is answered {status}"
            if unix:
                print(f"{name} through a Unix socket:")
            try_path(name, web, "/ws", admin)
            try_path(name, web, "/ws/", admin, "X-Forwarded-For: 203.0.113.9\r\n")
            try_path(name, web, "/chat/ws", admin)
            assert get(web, "/chat/")[1] == page, f"{name}: the page under a path"
            if name == "haproxy":
                try_path("haproxy, PROXY protocol", tcp, "/ws", admin)
        finally:
            proxy.terminate()
            proxy.wait()
            server.terminate()
            server.wait()


def found(port, path):
    try:
        return get(port, path)
    except OSError:
        # Until a proxy has checked its server it says 503.
        return None


if {"-h", "--help"} & set(sys.argv[1:]):
    sys.exit(print(__doc__))
for wanted in sys.argv[1:]:
    try_proxy(wanted)
    if wanted != "caddy":
        try_proxy(wanted, unix=True)
print("all of them passed")
