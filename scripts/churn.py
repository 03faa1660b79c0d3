"""Clients that come, talk, stall and leave at a steady pace, each in one of the ways in which real ones do.

    scripts/churn.py HOST:PORT --lives 40 --seconds 300 --seed 1

Ends with one line of JSON: how many lives of each kind ran to their end, and how many were met by something else.
"""
import argparse
import asyncio
import base64
import collections
import json
import os
import random
import socket
import struct

# Lives that run at once, whatever the pace: a server that hangs must not be flooded.
LIVES_MAX = 4_000
ANSWER_TIMEOUT_S = 20


def request(target, subprotocol=None):
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {target} HTTP/1.1",
        "Host: churn",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
    ]
    if subprotocol:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def frame(opcode, payload=b""):
    """A masked frame of less than 64 KiB; the mask is zero."""
    length = len(payload)
    size = bytes([0x80 | length]) if length < 126 else b"\xfe" + struct.pack(">H", length)
    return bytes([0x80 | opcode]) + size + bytes(4) + payload


def text(words):
    return frame(1, words.encode())


GOODBYE = frame(8, struct.pack(">H", 1000))


class Life:
    """One client's connection."""

    def __init__(self, server, dice, number, buffer=0):
        self.server, self.dice, self.number, self.buffer = server, dice, number, buffer
        self.socket = None

    async def __aenter__(self):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        if self.buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer)
        if self.server[0].startswith("127."):
            self.socket.bind((f"127.0.6.{1 + self.number % 16}", 0))
        await asyncio.get_running_loop().sock_connect(self.socket, self.server)
        return self

    async def __aexit__(self, *_):
        self.socket.close()

    async def send(self, data):
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def receive(self):
        receive = asyncio.get_running_loop().sock_recv(self.socket, 65_536)
        return await asyncio.wait_for(receive, ANSWER_TIMEOUT_S)

    async def open(self, target, subprotocol=None):
        await self.send(request(target, subprotocol))
        head = b""
        while b"\r\n\r\n" not in head:
            more = await self.receive()
            if not more:
                raise ConnectionError("no answer")
            head += more
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(head[:40].decode(errors="replace"))

    async def rest(self, least, most):
        await asyncio.sleep(self.dice.uniform(least, most))

    async def leave(self):
        """Says goodbye and hears it."""
        await self.send(GOODBYE)
        while await self.receive():
            pass

    def cut(self):
        """Goes by a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def talk(life):
    """Talks in a small channel, listens, and says goodbye."""
    await life.open(f"/ws?channel=churn{life.dice.randrange(200)}")
    for word in range(life.dice.randrange(1, 10)):
        await life.send(text(f"{word} " + "x" * life.dice.randrange(400)))
        await life.receive()
        await life.rest(0.05, 0.5)
    await life.leave()


async def speak_json(life):
    """Joins channels with a name of its own, publishes, and leaves one of them."""
    name = life.dice.randrange(500)
    await life.open(f"/ws?channel=churn{name % 200}&user=churner{name}", "stentor.v1")
    for channel in range(3):
        await life.send(text(json.dumps({"type": "join", "channel": f"json{name % 50 + channel}", "presence": True})))
    for number in range(life.dice.randrange(1, 6)):
        await life.send(text(json.dumps({"type": "publish", "id": number, "body": {"number": number}})))
        await life.receive()
        await life.rest(0.05, 0.5)
    await life.send(text(json.dumps({"type": "leave", "channel": f"json{name % 50}"})))
    if life.dice.random() < 0.5:
        await life.leave()
    else:
        life.cut()


async def stay_quiet(life):
    """Is silent for a while, and goes without a word."""
    await life.open("/ws?channel=quiet")
    await life.rest(2, 15)


async def stall(life):
    """Stops reading in the busiest channel; half of them take it up again, the others are closed or go."""
    await life.open("/ws?channel=busy")
    await life.rest(3, 12)
    if life.dice.random() < 0.5:
        while await life.receive():
            if life.dice.random() < 0.02:
                return
    life.cut()


async def break_off(life):
    """Goes in the middle of its request, or of a message."""
    if life.dice.random() < 0.5:
        await life.send(request("/ws")[: life.dice.randrange(1, 100)])
        await life.rest(0, 2)
    else:
        await life.open("/ws?channel=churn0")
        await life.send(text("x" * 300)[: life.dice.randrange(1, 300)])
        await life.rest(0, 1)
        life.cut()


async def visit(life):
    """Reads the page."""
    await life.send(b"GET / HTTP/1.1\r\nHost: churn\r\n\r\n")
    page = b""
    while more := await life.receive():
        page += more
    if b"</html>" not in page:
        raise ConnectionError("half a page")


KINDS = [(talk, 40), (speak_json, 25), (stay_quiet, 15), (stall, 8), (break_off, 7), (visit, 5)]


async def live(server, dice, number, counts):
    kind = dice.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])[0]
    buffer = 4_096 if kind is stall else 0
    try:
        async with Life(server, dice, number, buffer) as life:
            await kind(life)
        counts[kind.__name__] += 1
    except (ConnectionError, asyncio.TimeoutError, OSError) as error:
        # One that stalls is closed when it is too slow, and one of a user when that user comes again.
        expected = kind in (stall, speak_json) and isinstance(error, ConnectionError)
        counts[kind.__name__ if expected else f"{kind.__name__} failed: {error!r:.60}"] += 1


async def churn(server, lives_per_second, seconds, seed):
    """Begins lives at a steady pace, and waits for the last ones to end."""
    loop, counts, living = asyncio.get_running_loop(), collections.Counter(), set()
    began = loop.time()
    for number in range(int(lives_per_second * seconds)):
        due = began + number / lives_per_second
        await asyncio.sleep(max(0, due - loop.time()))
        if len(living) >= LIVES_MAX:
            counts["left out: too many at once"] += 1
            continue
        task = asyncio.create_task(live(server, random.Random(seed * 1_000_003 + number), number, counts))
        living.add(task)
        task.add_done_callback(living.discard)
    if living:
        await asyncio.wait(living, timeout=60)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", metavar="HOST:PORT")
    parser.add_argument("--lives", type=float, default=40, help="lives begun a second (default 40)")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    host, _, port = args.server.rpartition(":")
    counts = asyncio.run(churn((host, int(port)), args.lives, args.seconds, args.seed))
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
