"""The server side of an application that uses Stentor: publish, presence, history, tokens."""

from . import calls
from .answers import (
    Channel,
    ClientId,
    History,
    Kept,
    Member,
    Node,
    Position,
    Presence,
    PresenceStats,
)
from .calls import Call
from .client import AsyncStentor, Stentor
from .errors import (
    ApiError,
    BadAnswer,
    BadRequest,
    Busy,
    NotAvailable,
    NotReached,
    StentorError,
    Unauthorized,
    UnknownChannel,
    WrongEpoch,
)
from .tokens import Tokens

__all__ = [
    "ApiError",
    "AsyncStentor",
    "BadAnswer",
    "BadRequest",
    "Busy",
    "Call",
    "Channel",
    "ClientId",
    "History",
    "Kept",
    "Member",
    "Node",
    "NotAvailable",
    "NotReached",
    "Position",
    "Presence",
    "PresenceStats",
    "Stentor",
    "StentorError",
    "Tokens",
    "Unauthorized",
    "UnknownChannel",
    "WrongEpoch",
    "calls",
]
__version__ = "0.1.0"
