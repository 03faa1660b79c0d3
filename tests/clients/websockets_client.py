"""Python's websockets against both endpoints: text, bytes, ping, large and fragmented messages, JSON, close codes."""
import asyncio
import json
import sys

import websockets

URL = sys.argv[1]


async def receive(client):
    return await asyncio.wait_for(client.recv(), 20)


async def plain():
    async with websockets.connect(URL + "/ws") as a, websockets.connect(URL + "/ws") as b:
        for message in ["hello", "ünï", b"\x00\xff", "x" * 60_000, ""]:
            await a.send(message)
            assert await receive(a) == message
            assert await receive(b) == message
        await a.send(["in ", "three ", "fragments"])
        assert await receive(b) == "in three fragments"
        await (await a.ping(b"payload"))
        await a.close(1000, "bye")
        assert a.close_code == 1000, a.close_code


async def json_dialect():
    url = URL + "/ws?channel=room&user=ann"
    async with websockets.connect(url, subprotocols=["stentor.v1"]) as a:
        assert a.subprotocol == "stentor.v1"
        welcome = json.loads(await receive(a))
        assert welcome["type"] == "welcome" and welcome["user"] == "ann"
        await a.send(json.dumps({"type": "publish", "body": {"deep": [1, {"x": None}]}}))
        message = json.loads(await receive(a))
        assert message["body"] == {"deep": [1, {"x": None}]} and message["offset"] == 1


async def refused():
    try:
        async with websockets.connect(URL + "/ws?channel="):
            raise AssertionError("an empty name was taken")
    except websockets.exceptions.InvalidStatus as error:
        assert error.response.status_code == 400


async def main():
    await plain()
    await json_dialect()
    await refused()


asyncio.run(main())
