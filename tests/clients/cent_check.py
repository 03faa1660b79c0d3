"""Centrifugo's own server library against our API."""
import asyncio
import json
import sys

import websockets
from cent import (
    BroadcastRequest,
    CentUnauthorizedError,
    ChannelsRequest,
    Client,
    DisconnectRequest,
    InfoRequest,
    PublishRequest,
)

API, KEY, URL = sys.argv[1:4]


async def main():
    client = Client(API, KEY)
    async with websockets.connect(URL + "/ws?channel=news&user=42") as listener:
        result = await asyncio.to_thread(
            client.publish, PublishRequest(channel="news", data={"input": "hello"})
        )
        assert result.offset == 1, result
        assert json.loads(await asyncio.wait_for(listener.recv(), 20)) == {"input": "hello"}
        result = await asyncio.to_thread(
            client.broadcast, BroadcastRequest(channels=["news", "other"], data=[1])
        )
        assert len(result.responses) == 2, result
        assert await asyncio.wait_for(listener.recv(), 20) == "[1]"
        info = await asyncio.to_thread(client.info, InfoRequest())
        assert info.nodes[0].num_clients == 1, info
        channels = await asyncio.to_thread(client.channels, ChannelsRequest(pattern="ne*"))
        assert channels.channels["news"].num_clients == 1, channels
        await asyncio.to_thread(client.disconnect, DisconnectRequest(user="42"))
        await asyncio.wait_for(listener.wait_closed(), 20)
        assert listener.close_code == 3501, listener.close_code
    try:
        await asyncio.to_thread(Client(API, "wrong").info, InfoRequest())
        raise AssertionError("a wrong key was taken")
    except CentUnauthorizedError:
        pass


asyncio.run(main())
