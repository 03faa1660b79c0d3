"""PyPI centrifuge-python against this server, in JSON and in Protobuf, with and without Fossil deltas: every client hears
every body once and in order, commands are answered, and a client that was cut recovers what it missed.

The server must keep history, recover, and have delta = "fossil". Usage: centrifuge_client.py ws://ADDRESS
"""

import asyncio
import json
import logging
import sys

from centrifuge import Client, DeltaType, ReplyError, SubscriptionEventHandler

logging.getLogger("centrifuge").setLevel(logging.CRITICAL)


async def until(what, holds):
    async def look():
        while not holds():
            await asyncio.sleep(0.005)

    try:
        await asyncio.wait_for(look(), 20)
    except asyncio.TimeoutError:
        sys.exit(f"never: {what}")


class Listener(SubscriptionEventHandler):
    def __init__(self, url, protobuf, delta):
        self.protobuf, self.heard, self.recovered, self.deltas = protobuf, [], [], 0
        self.client = Client(f"{url}/connection/websocket", use_protobuf=protobuf, min_reconnect_delay=0.02)
        wish = {"delta": DeltaType.FOSSIL} if delta else {}
        self.sub = self.client.new_subscription("python", events=self, recoverable=True, positioned=True, **wish)

    def encoded(self, body):
        return json.dumps(body).encode() if self.protobuf else body

    async def on_publication(self, context):
        self.deltas += context.pub.delta
        data = context.pub.data
        self.heard.append(json.loads(data) if self.protobuf else data)

    async def on_subscribed(self, context):
        if context.was_recovering:
            self.recovered.append(context.recovered)


def body(number):
    return {"n": number, "rest": "é🟢 some text that stays the same" * 4}


async def main(url):
    listeners = [Listener(url, protobuf, delta) for protobuf in (False, True) for delta in (False, True)]
    for one in listeners:
        await one.client.connect()
        await one.sub.subscribe()
    for one in listeners:
        await one.sub.ready()
    for number in range(40):
        one = listeners[number % 4]
        await one.sub.publish(one.encoded(body(number)))
    wanted = [body(number) for number in range(40)]
    await until("all is heard", lambda: all(len(one.heard) == 40 for one in listeners))
    for one in listeners:
        assert one.heard == wanted, "each once, in order"
        presence = await one.sub.presence()
        assert len(presence.clients) == 4
        stats = await one.sub.presence_stats()
        assert stats.num_clients == 4
        history = await one.sub.history(limit=3, reverse=True)
        assert [publication.offset for publication in history.publications] == [40, 39, 38]
        try:
            await one.client.rpc("none", one.encoded({}))
            sys.exit("an rpc was answered")
        except ReplyError as error:
            assert error.code == 108
    assert [one.deltas > 0 for one in listeners] == [False, True, False, True]

    away = listeners[1:]
    for one in away:
        await one.client.disconnect()
    for number in range(40, 60):
        await listeners[0].sub.publish(body(number))
    for one in away:
        await one.client.connect()
    wanted = [body(number) for number in range(60)]
    await until("all is recovered", lambda: all(len(one.heard) == 60 for one in listeners))
    for one in listeners:
        assert one.heard == wanted, "each once, in order"
    assert all(one.recovered == [True] for one in away)
    for one in listeners:
        await one.client.disconnect()


asyncio.run(main(sys.argv[1]))
