"""Python's websockets with permessage-deflate: every client hears all that is said, in one order."""
import asyncio
import json
import sys

import websockets


async def main():
    url = f"{sys.argv[1]}/ws?channel=python"
    clients = [await websockets.connect(url, compression="deflate") for _ in range(6)]
    assert all(client.protocol.extensions for client in clients), "the server has agreed"
    words = [json.dumps({"number": number, "text": "hello there " * (number % 60)}) for number in range(150)]
    for number, word in enumerate(words):
        await clients[number % 6].send(word)
    heard = [[await asyncio.wait_for(client.recv(), 10) for _ in words] for client in clients]
    assert all(one == heard[0] for one in heard) and sorted(heard[0]) == sorted(words)
    for client in clients:
        await client.close()
        assert client.close_code == 1000


asyncio.run(main())
