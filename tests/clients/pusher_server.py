"""PyPI's pusher, the server library, against our API: every call that it has, and its errors."""
import sys

import pusher
from pusher.errors import PusherBadAuth, PusherBadRequest, PusherBadStatus

for address in sys.argv[1:3]:
    host, port = address.split(":")
    options = {
        "app_id": "1", "key": "app-key", "secret": "app-secret", "host": host, "port": int(port),
        "ssl": False,
    }
    client = pusher.Pusher(**options)
    assert client.trigger("news", "greeting", {"text": "hällo"}) == {}
    assert client.trigger(["news", "other"], "greeting", "a text", "1234.5678") == {}
    batch = [{"channel": "news", "name": name, "data": {"n": 1}} for name in "abc"]
    assert client.trigger_batch(batch) == {}
    assert client.channels_info() == {"channels": {}}
    assert client.channels_info("presence-", ["user_count"]) == {"channels": {}}
    info = client.channel_info("news", ["subscription_count"])
    assert info == {"occupied": False, "subscription_count": 0}, info
    assert client.users_info("presence-a") == {"users": []}
    assert client.terminate_user_connections("ana") == {}
    assert client.send_to_user("ana", "e", {"a": 1}) == {}

    for change, error in [
        ({"secret": "other"}, PusherBadAuth),
        ({"key": "other"}, PusherBadAuth),
        ({"app_id": "2"}, PusherBadStatus),
    ]:
        try:
            pusher.Pusher(**{**options, **change}).trigger("news", "e", {})
        except error:
            pass
        else:
            raise AssertionError(f"{change} is taken")
    try:
        client.channels_info(attributes=["user_count"])
    except PusherBadRequest as why:
        assert "user_count" in str(why), why
    else:
        raise AssertionError("user_count of all channels is told")
