"""One call over HTTP, without a socket: the request, what an answer means, when to try again."""

from __future__ import annotations

import json
import random
from typing import Any, Generic, TypeVar

import httpx

from .calls import Call
from .errors import ApiError, BadAnswer, Busy, NotReached, StentorError, api_error

T = TypeVar("T")

_PAUSE_S = 0.1
_PAUSE_MAX_S = 2.0
# A server that asks for more patience than this is asked no more.
_RETRY_AFTER_MAX_S = 10.0
# These say that no request has left.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
# A proxy in front of the server did not reach it, or the server has no room at the moment.
_PASSING = (502, 503, 504)


class Exchange:
    """Settings of a client."""

    def __init__(self, url: str, key: str | None, timeout: float, retries: int) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"the address of a server begins with http:// or https://, not {url!r}")
        if timeout <= 0 or retries < 0:
            raise ValueError("timeout is more than 0, and retries are not fewer than 0")
        self.base = url.rstrip("/").removesuffix("/api") + "/api/"
        self.headers = {"Content-Type": "application/json"}
        if key is not None:
            self.headers["X-API-Key"] = key
        self.timeout = timeout
        self.retries = retries

    def begin(self, call: Call[T]) -> Attempt[T]:
        """Returns the attempts at a call; raises if its parameters are no JSON."""
        params = call.to_repeat() if self.retries else call.params
        content = json.dumps(params, allow_nan=False, separators=(",", ":")).encode()
        return Attempt(self, call, content)


class Attempt(Generic[T]):
    """A call that is being tried."""

    def __init__(self, exchange: Exchange, call: Call[T], content: bytes) -> None:
        self._exchange = exchange
        self._call = call
        self._content = content
        self._tries = 0
        self._found: dict[str, Any] | StentorError | None = None

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Returns the next request."""
        return http.build_request(
            "POST",
            self._exchange.base + self._call.method,
            content=self._content,
            headers=self._exchange.headers,
            timeout=self._exchange.timeout,
        )

    def take(self, answer: httpx.Response | httpx.TransportError) -> float | None:
        """Takes the answer, or what came in its place. Returns the pause before the next attempt,
        or None if there is to be none."""
        self._tries += 1
        wait_s = 0.0
        if isinstance(answer, httpx.Response):
            self._found = self._read(answer)
            is_passing = isinstance(self._found, Busy) or answer.status_code in _PASSING
            may_repeat = is_passing and self._call.repeatable
            wait_s = _seconds(answer.headers.get("Retry-After"))
        else:
            is_sent = not isinstance(answer, _NOT_SENT)
            self._found = self._not_reached(answer, is_sent)
            may_repeat = self._call.repeatable or not is_sent
            may_repeat = may_repeat and not isinstance(answer, httpx.UnsupportedProtocol)
        if not may_repeat or self._tries > self._exchange.retries or wait_s > _RETRY_AFTER_MAX_S:
            return None
        # Jitter, so that clients which failed together do not come back together.
        longest_s = min(_PAUSE_S * 2.0 ** (self._tries - 1), _PAUSE_MAX_S)
        return max(wait_s, random.uniform(longest_s / 2, longest_s))

    def result(self) -> T:
        """Returns what the call brought, or raises what went wrong."""
        if isinstance(self._found, StentorError):
            raise self._found
        assert self._found is not None, "an answer was taken"
        try:
            return self._call.read(self._found)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            text = f"{self._call.method}: the result is not one of Stentor's: {error!r}"
            raise BadAnswer(text, status=200) from error

    def _read(self, answer: httpx.Response) -> dict[str, Any] | StentorError:
        method = self._call.method
        try:
            body = answer.json()
        except ValueError:
            body = None
        if isinstance(body, dict):
            if "error" in body:
                return api_error(method, body["error"])
            result = body if method == "batch" and "replies" in body else body.get("result")
            if answer.status_code == 200 and isinstance(result, dict):
                return result
        begin = " ".join(answer.text[:120].split())
        text = f"{method}: {answer.url} answered {answer.status_code}, which is no Stentor API: {begin}"
        return BadAnswer(text, status=answer.status_code)

    def _not_reached(self, error: httpx.TransportError, is_sent: bool) -> NotReached:
        why = str(error) or type(error).__name__
        times = "once" if self._tries == 1 else f"{self._tries} times"
        text = f"{self._call.method}: {self._exchange.base} was not reached, tried {times}: {why}"
        failure = NotReached(text, maybe_done=is_sent)
        failure.__cause__ = error
        return failure


def _seconds(text: str | None) -> float:
    """Returns the seconds of a Retry-After; a date counts as none."""
    return float(text) if text is not None and text.isdigit() else 0.0


__all__ = ["ApiError", "Attempt", "Exchange"]
