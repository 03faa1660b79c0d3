"""Shows that every installed peer fans out: each of 20 clients hears all of 50 messages, each publisher's in its order.

check.py [PEER ...], with a Python that has websockets: .venv/bin/python after scripts/setup.sh.
"""
import argparse
import asyncio
import contextlib
import sys

import websockets

import peers

CLIENTS, PUBLISHERS, MESSAGES_EACH = 20, 5, 10

# How long everything may take to arrive.
PATIENCE_S = 10

# A client counts for a server a moment after it was told so.
SEATED_S = 0.2


class Text:
    """A frame is a message."""

    hello = None

    def publication(self, text):
        return text

    def read(self, frame):
        """The messages that end in this frame."""
        return [frame]


class Nats:
    """NATS's protocol: a stream of lines and payloads, in binary frames that may end anywhere."""

    hello = b'CONNECT {"verbose":false,"pedantic":false,"echo":true}\r\nSUB lobby 1\r\nPING\r\n'

    def __init__(self):
        self.part = b""

    def publication(self, text):
        return b"PUB lobby %d\r\n%s\r\n" % (len(text), text.encode())

    def read(self, frame):
        self.part += frame
        texts = []
        while b"\r\n" in self.part:
            line, rest = self.part.split(b"\r\n", 1)
            words = line.split()
            if words[0] == b"MSG":
                size = int(words[-1])
                if len(rest) < size + 2:
                    break
                texts.append(rest[:size].decode())
                rest = rest[size + 2 :]
            elif words[0] == b"-ERR":
                raise peers.Failed(line.decode())
            elif words[0] == b"PONG":
                texts.append("PONG")
            self.part = rest
        return texts


PROTOCOLS = {"text": Text, "nats": Nats}


class Client:
    """One connection, which publishes and keeps what it hears."""

    def __init__(self, socket, protocol):
        self.socket, self.protocol, self.heard = socket, protocol, []

    async def greet(self):
        if self.protocol.hello is None:
            return
        await self.socket.send(self.protocol.hello)
        while "PONG" not in self.protocol.read(await self.socket.recv()):
            pass

    async def publish(self, publisher):
        for number in range(MESSAGES_EACH):
            await self.socket.send(self.protocol.publication(f"{publisher} {number}"))

    async def listen(self, count):
        while len(self.heard) < count:
            self.heard += self.protocol.read(await self.socket.recv())

    async def linger(self):
        """Whatever comes twice would come now."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEATED_S):
                await self.listen(sys.maxsize)


async def fan_out(peer, port):
    uri = f"ws://127.0.0.1:{port}{peer.path}"
    options = {"compression": None, "proxy": None, "close_timeout": 1}
    sockets = await asyncio.gather(*(websockets.connect(uri, **options) for _ in range(CLIENTS)))
    clients = [Client(socket, PROTOCOLS[peer.protocol]()) for socket in sockets]
    await asyncio.gather(*(client.greet() for client in clients))
    await asyncio.sleep(SEATED_S)
    count = PUBLISHERS * MESSAGES_EACH
    talk = [client.publish(publisher) for publisher, client in enumerate(clients[:PUBLISHERS])]
    hear = [client.listen(count) for client in clients]
    try:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*talk, *hear)
    except TimeoutError:
        fewest = min(len(client.heard) for client in clients)
        raise peers.Failed(f"a client heard {fewest} of {count} messages in {PATIENCE_S} s") from None
    await asyncio.gather(*(client.linger() for client in clients))
    for index, client in enumerate(clients):
        for publisher in range(PUBLISHERS):
            own = [text for text in client.heard if text.split()[0] == str(publisher)]
            if own != [f"{publisher} {number}" for number in range(MESSAGES_EACH)]:
                raise peers.Failed(f"client {index} heard of publisher {publisher}: {own}")
        if len(client.heard) != count:
            raise peers.Failed(f"client {index} heard {len(client.heard)} messages, not {count}")
    await asyncio.gather(*(socket.close() for socket in sockets))


def check(peer):
    with peers.Server(peer.command()) as server:
        asyncio.run(fan_out(peer, server.port))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="*", metavar="PEER", help="a folder's name; all if none is named")
    options = parser.parse_args()
    passed = failed = skipped = 0
    for peer in peers.chosen(options.peers, parser.error):
        version = peer.version()
        if version is None:
            skipped += 1
            print(f"{peer.id}: not installed, run bench/peers/{peer.id}/install.sh")
            continue
        try:
            check(peer)
        except (peers.Failed, OSError, websockets.WebSocketException) as error:
            failed += 1
            print(f"{peer.id}: {error}")
        else:
            passed += 1
            print(f"{peer.id}: {CLIENTS} clients heard {PUBLISHERS * MESSAGES_EACH} messages ({version})")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed or not passed else 0)


main()
