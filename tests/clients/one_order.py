"""Four clients of PyPI centrifuge-python, in JSON and in Protobuf, with deltas and without, that listen to one channel. The
script prints "ready" once all are in, and what each has heard, in JSON, once each has heard so many bodies.

Usage: one_order.py ws://ADDRESS CHANNEL COUNT
"""

import asyncio
import json
import sys

from centrifuge import Client, DeltaType, SubscriptionEventHandler


class Listener(SubscriptionEventHandler):
    def __init__(self, url, channel, kind):
        self.protobuf, delta = kind
        self.heard = []
        self.client = Client(f"{url}/connection/websocket", use_protobuf=self.protobuf)
        wish = {"delta": DeltaType.FOSSIL, "recoverable": True} if delta else {}
        self.sub = self.client.new_subscription(channel, events=self, **wish)

    async def on_publication(self, context):
        data = context.pub.data
        self.heard.append(json.loads(data) if self.protobuf else data)


async def main(url, channel, count):
    kinds = [(protobuf, delta) for protobuf in (False, True) for delta in (False, True)]
    listeners = [Listener(url, channel, kind) for kind in kinds]
    for one in listeners:
        await one.client.connect()
        await one.sub.subscribe()
        await one.sub.ready()
    print("ready", flush=True)
    # The caller ends the script if that takes too long.
    while any(len(one.heard) < count for one in listeners):
        await asyncio.sleep(0.005)
    print(json.dumps([one.heard for one in listeners]), flush=True)
    for one in listeners:
        await one.client.disconnect()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
