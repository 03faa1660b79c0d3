"""Centrifugo's own server library against our API: every method that it has, and what answers."""
import asyncio
import json
import sys

import cent
import cent.dto
import websockets
from cent import (
    BatchRequest,
    BroadcastRequest,
    CentApiResponseError,
    CentTransportError,
    CentUnauthorizedError,
    ChannelsRequest,
    Client,
    DisconnectRequest,
    InfoRequest,
    PublishRequest,
)

API, KEY, URL = sys.argv[1:4]

# The methods that are there. All others of the library are answered with error 108.
THERE = {
    "publish", "broadcast", "disconnect", "refresh", "info", "channels", "presence",
    "presence_stats", "batch", "history", "history_remove", "subscribe",
    "unsubscribe",
}

# What each method that is not there is asked with: the least that the library lets pass.
REQUESTS = {
    "connections": cent.ConnectionsRequest(user="42", expression=""),
    "update_user_status": cent.UpdateUserStatusRequest(users=["42"]),
    "get_user_status": cent.GetUserStatusRequest(users=["42"]),
    "delete_user_status": cent.DeleteUserStatusRequest(users=["42"]),
    "block_user": cent.BlockUserRequest(user="42"),
    "unblock_user": cent.UnblockUserRequest(user="42"),
    "revoke_token": cent.RevokeTokenRequest(uid="1"),
    "invalidate_user_tokens": cent.InvalidateUserTokensRequest(user="42"),
    "device_register": cent.DeviceRegisterRequest(provider="fcm", token="t", platform="web"),
    "device_update": cent.DeviceUpdateRequest(),
    "device_remove": cent.DeviceRemoveRequest(),
    "device_list": cent.DeviceListRequest(),
    "device_topic_list": cent.DeviceTopicListRequest(),
    "device_topic_update": cent.DeviceTopicUpdateRequest(device_id="1", op="add", topics=[]),
    "user_topic_list": cent.UserTopicListRequest(),
    "user_topic_update": cent.dto.UserTopicUpdateRequest(user="42", op="add", topics=[]),
    "send_push_notification": cent.SendPushNotificationRequest(
        recipient=cent.dto.PushRecipient(), notification=cent.dto.PushNotification()
    ),
    "update_push_status": cent.UpdatePushStatusRequest(analytics_uid="1", status="sent"),
    "cancel_push": cent.CancelPushRequest(uid="1"),
}


async def called(method, request):
    return await asyncio.to_thread(method, request)


async def what_is_there(client, listener):
    async def heard():
        return await asyncio.wait_for(listener.recv(), 20)

    request = PublishRequest(channel="news", data={"input": "hello"}, idempotency_key="k", skip_history=True)
    result = await called(client.publish, request)
    assert result.offset == 1 and result.epoch, result
    assert json.loads(await heard()) == {"input": "hello"}
    again = await called(client.publish, request)
    assert again == result, (again, result)

    await called(client.publish, PublishRequest(channel="news", data=None, b64data="AP8="))
    assert await heard() == b"\x00\xff", "the repeated publication or something else"
    stats = await called(client.presence_stats, cent.PresenceStatsRequest(channel="news"))
    assert (stats.num_clients, stats.num_users) == (1, 1), stats
    members = (await called(client.presence, cent.PresenceRequest(channel="news"))).presence
    assert [member.user for member in members.values()] == ["42"], members
    assert {name: member.client for name, member in members.items()} == {name: name for name in members}
    result = await called(client.broadcast, BroadcastRequest(channels=["news", "other"], data=[1]))
    assert [one.result.offset for one in result.responses] == [3, 1], result
    assert await heard() == "[1]"

    batch = BatchRequest(
        requests=[PublishRequest(channel="news", data=2), InfoRequest(), PublishRequest(channel="news", data=3)]
    )
    replies = (await called(client.batch, batch)).replies
    assert (replies[0].offset, replies[1].nodes[0].num_clients, replies[2].offset) == (4, 1, 5), replies
    assert (await heard(), await heard()) == ("2", "3")
    batch.parallel = True
    offsets = {reply.offset for reply in (await called(client.batch, batch)).replies if hasattr(reply, "offset")}
    assert offsets == {6, 7}, offsets
    assert {await heard(), await heard()} == {"2", "3"}

    info = await called(client.info, InfoRequest())
    assert info.nodes[0].num_clients == 1, info
    channels = await called(client.channels, ChannelsRequest(pattern="ne*"))
    assert channels.channels["news"].num_clients == 1, channels
    await called(client.refresh, cent.RefreshRequest(user="42", expire_at=4_000_000_000))


async def who_is_moved(client, listener):
    await called(client.subscribe, cent.SubscribeRequest(user="42", channel="moved"))
    await called(client.publish, PublishRequest(channel="moved", data="in"))
    assert await asyncio.wait_for(listener.recv(), 20) == "in"
    await called(client.unsubscribe, cent.UnsubscribeRequest(user="42", channel="moved"))
    await called(client.publish, PublishRequest(channel="moved", data="out"))
    await called(client.publish, PublishRequest(channel="news", data="still here"))
    assert await asyncio.wait_for(listener.recv(), 20) == "still here"


async def what_is_kept(client):
    """Publications 1 to 7 are there, of which the first was not to be kept."""
    page = await called(client.history, cent.HistoryRequest(channel="news", limit=2))
    assert [one.offset for one in page.publications] == [2, 3] and page.offset == 7, page
    since = cent.StreamPosition(offset=5, epoch=page.epoch)
    later = await called(client.history, cent.HistoryRequest(channel="news", limit=-1, since=since))
    assert [one.offset for one in later.publications] == [6, 7], later
    tagged = PublishRequest(channel="other", data=1, tags={"a": "b"})
    await called(client.publish, tagged)
    newest = await called(client.history, cent.HistoryRequest(channel="other", limit=1, reverse=True))
    assert newest.publications[0].tags == {"a": "b"}, newest
    await called(client.history_remove, cent.HistoryRemoveRequest(channel="news"))
    page = await called(client.history, cent.HistoryRequest(channel="news", limit=10))
    assert page.publications == [] and page.offset == 7, page


async def what_is_refused(client):
    for request in (
        PublishRequest(channel="news", data=1, b64data="AP8="),
        PublishRequest(channel="", data=1),
    ):
        try:
            raise AssertionError(await called(client.publish, request))
        except CentApiResponseError as error:
            assert error.code == 107, error


async def what_is_not_there(client):
    methods = {name for name in vars(Client) if not name.startswith("_") and name != "close"}
    assert methods == THERE | set(REQUESTS), methods ^ (THERE | set(REQUESTS))
    for name, request in REQUESTS.items():
        try:
            raise AssertionError(f"{name}: {await called(getattr(client, name), request)}")
        except CentApiResponseError as error:
            assert error.code == 108, (name, error)


async def main():
    client = Client(API, KEY)
    async with websockets.connect(URL + "/ws?channel=news&user=42") as listener:
        await what_is_there(client, listener)
        await what_is_kept(client)
        await who_is_moved(client, listener)
        await what_is_refused(client)
        await what_is_not_there(client)
        await called(client.disconnect, DisconnectRequest(user="42"))
        await asyncio.wait_for(listener.wait_closed(), 20)
        assert listener.close_code == 3501, listener.close_code
    for wrong, error in ((Client(API, "wrong"), CentUnauthorizedError), (Client(API + "x", KEY), CentTransportError)):
        try:
            raise AssertionError(await called(wrong.info, InfoRequest()))
        except error:
            pass


asyncio.run(main())
