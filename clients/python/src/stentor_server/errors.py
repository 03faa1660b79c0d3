"""Errors, by what the caller can do about them."""

from __future__ import annotations


class StentorError(Exception):
    """A call that did not succeed."""


class NotReached(StentorError):
    """The server was not reached, or did not answer in time, at the last attempt too."""

    def __init__(self, text: str, *, maybe_done: bool) -> None:
        super().__init__(text)
        #: True if a request had left, so that the server may have performed the call all the same.
        self.maybe_done = maybe_done


class BadAnswer(StentorError):
    """Something answered that is no Stentor API: a proxy, for example, or a wrong address."""

    def __init__(self, text: str, *, status: int) -> None:
        super().__init__(text)
        self.status = status


class ApiError(StentorError):
    """The server refused a call."""

    def __init__(self, method: str, code: int, message: str) -> None:
        super().__init__(f"{method}: {message} (error {code})")
        self.method = method
        self.code = code
        self.message = message


class Busy(ApiError):
    """The shards are busy (100). Also the end of several attempts."""


class Unauthorized(ApiError):
    """No API key, or a wrong one (101)."""


class UnknownChannel(ApiError):
    """The channel is of a namespace that is not configured (102)."""


class BadRequest(ApiError):
    """A parameter is wrong (107); the message names it."""


class NotAvailable(ApiError):
    """The server, or the channel, does not offer this (108): history is not kept, for example."""


class WrongEpoch(ApiError):
    """A position is of another numbering of the channel (112): begin without it."""


_BY_CODE: dict[int, type[ApiError]] = {
    100: Busy,
    101: Unauthorized,
    102: UnknownChannel,
    107: BadRequest,
    108: NotAvailable,
    112: WrongEpoch,
}


def api_error(method: str, error: object) -> ApiError:
    """Returns the exception for the `error` object of an answer."""
    fields = error if isinstance(error, dict) else {}
    code, message = fields.get("code"), fields.get("message")
    code = code if isinstance(code, int) else 0
    return _BY_CODE.get(code, ApiError)(method, code, str(message or "no message"))
