"""Calls of the API as values: what to ask, and how to read the answer.

`Stentor` and `AsyncStentor` have a method for each of them; `batch` takes them as they are.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .answers import Channel, History, Node, Position, Presence, PresenceStats
from .errors import ApiError, api_error

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call: the method, its parameters, and how its result is read."""

    method: str
    params: dict[str, Any]
    read: Callable[[dict[str, Any]], T]
    #: False if the call does more each time that it is performed, so that it must not be repeated
    #: where the first attempt may have arrived.
    repeatable: bool = True
    #: The calls of a batch.
    parts: tuple[Call[Any], ...] = ()

    def to_repeat(self) -> dict[str, Any]:
        """Returns the parameters of a call that may be repeated: each publication has a key."""
        if self.parts:
            return {**self.params, "commands": [{one.method: one.to_repeat()} for one in self.parts]}
        if self.method in ("publish", "broadcast") and "idempotency_key" not in self.params:
            # With it the server publishes once, however often the request arrives.
            return {**self.params, "idempotency_key": uuid.uuid4().hex}
        return self.params


def _body(data: Any) -> dict[str, Any]:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return {"b64data": base64.b64encode(data).decode()}
    return {"data": data}


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _clients(result: dict[str, Any]) -> int:
    return int(result["clients"])


def _nothing(_: dict[str, Any]) -> None:
    return None


def _publication(
    data: Any,
    idempotency_key: str | None,
    skip_history: bool,
    tags: Mapping[str, str] | None,
    version: int | None,
    version_epoch: str | None,
) -> dict[str, Any]:
    return {
        **_body(data),
        **_given(
            idempotency_key=idempotency_key,
            skip_history=skip_history or None,
            tags=dict(tags) if tags is not None else None,
            version=version,
            version_epoch=version_epoch,
        ),
    }


def publish(
    channel: str,
    data: Any,
    *,
    idempotency_key: str | None = None,
    skip_history: bool = False,
    tags: Mapping[str, str] | None = None,
    version: int | None = None,
    version_epoch: str | None = None,
) -> Call[Position]:
    """Publishes to a channel: any JSON value, or bytes.

    A client that repeats requests adds an idempotency key unless one is given, so that it publishes
    once. With `version` the server leaves out what is older than what the channel has had.
    """
    rest = _publication(data, idempotency_key, skip_history, tags, version, version_epoch)
    return Call("publish", {"channel": channel, **rest}, Position.read)


def broadcast(
    channels: Sequence[str],
    data: Any,
    *,
    idempotency_key: str | None = None,
    skip_history: bool = False,
    tags: Mapping[str, str] | None = None,
    version: int | None = None,
    version_epoch: str | None = None,
) -> Call[list[Position | ApiError]]:
    """Publishes the same to several channels (at most 1,000).

    The result has the position of the publication in each channel, in their order, or the error
    that this channel answered with.
    """
    rest = _publication(data, idempotency_key, skip_history, tags, version, version_epoch)

    def read(result: dict[str, Any]) -> list[Position | ApiError]:
        return [
            api_error("publish", one["error"]) if "error" in one else Position.read(one["result"])
            for one in result["responses"]
        ]

    return Call("broadcast", {"channels": list(channels), **rest}, read)


def direct(user: str, data: Any) -> Call[int]:
    """Sends to all clients of a user, and returns their number.

    The server has no idempotency key for it: the call is repeated only if the first attempt cannot
    have arrived.
    """
    return Call("direct", {"user": user, **_body(data)}, _clients, repeatable=False)


def subscribe(
    channel: str,
    *,
    user: str | None = None,
    client: str | None = None,
    recover_since: Position | None = None,
    expire_at: int | None = None,
    info: Any = None,
    data: Any = None,
) -> Call[int]:
    """Puts clients into a channel, and returns the number of those that are in it now."""
    since = None
    if recover_since is not None:
        since = {"epoch": recover_since.epoch, "offset": recover_since.offset}
    params = _given(
        channel=channel, user=user, client=client, recover_since=since, expire_at=expire_at,
        info=info, data=data,
    )  # fmt: skip
    return Call("subscribe", params, _clients)


def unsubscribe(
    channel: str, *, user: str | None = None, client: str | None = None
) -> Call[int]:
    """Takes clients out of a channel, and returns their number."""
    return Call("unsubscribe", _given(channel=channel, user=user, client=client), _clients)


def disconnect(
    *,
    user: str | None = None,
    client: str | None = None,
    token: str | None = None,
    whitelist: Sequence[str] | None = None,
) -> Call[int]:
    """Closes the clients of a user, one client, or those with a token (its `jti`).

    Returns their number. Clients of the user whose ids are in `whitelist` stay.
    """
    stay = list(whitelist) if whitelist is not None else None
    params = _given(user=user, client=client, token=token, whitelist=stay)
    return Call("disconnect", params, _clients)


def refresh(
    *,
    user: str | None = None,
    client: str | None = None,
    token: str | None = None,
    expire_at: int | None = None,
    expired: bool = False,
) -> Call[int]:
    """Sets the moment at which clients end (Unix seconds), or ends them now with `expired`."""
    params = _given(
        user=user, client=client, token=token, expire_at=expire_at, expired=expired or None
    )
    return Call("refresh", params, _clients)


def revoke(
    *, user: str | None = None, issued_before: int | None = None, token: str | None = None
) -> Call[int]:
    """Refuses a token (its `jti`), or those of a user that were issued before a moment, from now on.

    Returns the number of clients with such tokens, which are closed.
    """
    return Call("revoke", _given(user=user, issued_before=issued_before, token=token), _clients)


def presence(channel: str) -> Call[Presence]:
    """Lists the clients of a channel."""
    return Call("presence", {"channel": channel}, Presence.read)


def presence_stats(channel: str) -> Call[PresenceStats]:
    """Counts the clients and the users of a channel."""
    return Call("presence_stats", {"channel": channel}, PresenceStats.read)


def history(
    channel: str,
    *,
    limit: int | None = None,
    since: Position | None = None,
    reverse: bool = False,
) -> Call[History]:
    """Reads what a channel keeps: all of it, at most 10,000, unless there is a `limit`.

    With `limit=0` only the position of the newest publication is returned.
    """
    params: dict[str, Any] = {"channel": channel, "limit": -1 if limit is None else limit}
    if since is not None:
        params["since"] = {"epoch": since.epoch, "offset": since.offset}
    if reverse:
        params["reverse"] = True
    return Call("history", params, History.read)


def history_remove(channel: str) -> Call[None]:
    """Forgets what a channel has kept. Its offsets go on."""
    return Call("history_remove", {"channel": channel}, _nothing)


def channels(pattern: str = "") -> Call[list[Channel]]:
    """Lists channels with clients; in a pattern `*` is any text, and `?` one character."""

    def read(result: dict[str, Any]) -> list[Channel]:
        found = result["channels"].items()
        return [Channel(name, fields.get("num_clients", 0)) for name, fields in found]

    return Call("channels", _given(pattern=pattern or None), read)


def info() -> Call[list[Node]]:
    """Tells the counts of the server, and of its other process in a take-over."""
    return Call("info", {}, lambda result: [Node.read(node) for node in result["nodes"]])


def reload() -> Call[int]:
    """Reads the rules of channels and the files of keys again; returns the number of namespaces."""
    return Call("reload", {}, lambda result: int(result["namespaces"]))


def batch(
    commands: Sequence[Call[Any]], *, parallel: bool = False
) -> Call[list[Any]]:
    """Performs several calls (at most 1,000) in one request.

    The result has those of the calls, in their order, and an `ApiError` in the place of each that
    was refused. With `parallel` the server may perform them in any order.
    """
    commands = list(commands)

    def read(result: dict[str, Any]) -> list[Any]:
        replies = []
        for call, reply in zip(commands, result["replies"], strict=True):
            failed = "error" in reply
            replies.append(
                api_error(call.method, reply["error"]) if failed else call.read(reply[call.method])
            )
        return replies

    params: dict[str, Any] = {"commands": [{call.method: call.params} for call in commands]}
    if parallel:
        params["parallel"] = True
    repeatable = all(call.repeatable for call in commands)
    return Call("batch", params, read, repeatable, tuple(commands))
