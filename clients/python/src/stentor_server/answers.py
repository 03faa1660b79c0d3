"""Results of calls, read from the server's JSON."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

#: The id of a connection, as the server writes it.
ClientId = str


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a channel: an offset, and the numbering that it belongs to."""

    epoch: str
    offset: int

    @classmethod
    def read(cls, result: dict[str, Any]) -> Position:
        return cls(epoch=result["epoch"], offset=result["offset"])


@dataclass(frozen=True, slots=True)
class Member:
    """A client in a channel."""

    client: ClientId
    user: str
    #: `info` of the client's token, and of its token for this channel.
    info: Any = None
    channel_info: Any = None

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Member:
        return cls(
            client=str(fields["client"]),
            user=fields.get("user") or "",
            info=fields.get("conn_info"),
            channel_info=fields.get("chan_info"),
        )


@dataclass(frozen=True, slots=True)
class Presence:
    """The clients of a channel."""

    members: list[Member]
    #: True if there are more than the server lists.
    truncated: bool

    @property
    def users(self) -> list[str]:
        """Returns the names of the users, sorted, each once."""
        return sorted({member.user for member in self.members if member.user})

    @classmethod
    def read(cls, result: dict[str, Any]) -> Presence:
        members = [Member.read(fields) for fields in result["presence"].values()]
        return cls(members=members, truncated=bool(result.get("truncated")))


@dataclass(frozen=True, slots=True)
class PresenceStats:
    """How many are in a channel."""

    clients: int
    users: int
    #: True if some users of several clients may count several times.
    truncated: bool

    @classmethod
    def read(cls, result: dict[str, Any]) -> PresenceStats:
        return cls(
            clients=result["num_clients"],
            users=result["num_users"],
            truncated=bool(result.get("truncated")),
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """A publication that the server keeps. `data` is `bytes` if it was published as bytes."""

    offset: int
    data: Any
    #: Unix milliseconds.
    time: int
    tags: dict[str, str]
    #: The client that published it: None for the API.
    sender: Member | None

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Kept:
        encoded = fields.get("b64data")
        info = fields.get("info")
        return cls(
            offset=fields["offset"],
            data=fields.get("data") if encoded is None else base64.b64decode(encoded),
            time=fields["time"],
            tags=fields.get("tags") or {},
            sender=Member.read(info) if info else None,
        )


@dataclass(frozen=True, slots=True)
class History:
    """What a channel keeps, as far as was asked for."""

    publications: list[Kept]
    #: Of the channel's newest publication.
    position: Position

    @classmethod
    def read(cls, result: dict[str, Any]) -> History:
        publications = [Kept.read(fields) for fields in result.get("publications") or []]
        return cls(publications=publications, position=Position.read(result))


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel that has clients."""

    name: str
    clients: int


@dataclass(frozen=True, slots=True)
class Node:
    """A process of the server, with its counts."""

    uid: str
    name: str
    version: str
    clients: int
    users: int
    subscriptions: int
    channels: int
    uptime_s: int

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Node:
        return cls(
            uid=fields["uid"],
            name=fields["name"],
            version=fields["version"],
            clients=fields["num_clients"],
            users=fields["num_users"],
            subscriptions=fields["num_subs"],
            channels=fields["num_channels"],
            uptime_s=fields["uptime"],
        )
