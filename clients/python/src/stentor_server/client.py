"""The clients of the API, one that blocks and one for asyncio, over the same calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar, overload

import httpx

from . import calls
from .calls import Call
from .exchange import Exchange

P = ParamSpec("P")
T = TypeVar("T")

#: Where `stentor` serves its API unless it is told otherwise.
DEFAULT_URL = "http://127.0.0.1:9002"


class _Sync(Generic[P, T]):
    """A method that performs the call that a function of `calls` makes."""

    def __init__(self, make: Callable[P, Call[T]]) -> None:
        self.make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> _Sync[P, T]: ...

    @overload
    def __get__(self, instance: Stentor, owner: type[Any]) -> Callable[P, T]: ...

    def __get__(self, instance: Stentor | None, owner: type[Any]) -> Any:
        if instance is None:
            return self

        def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return instance.perform(self.make(*args, **kwargs))

        method.__doc__, method.__name__ = self.__doc__, self.make.__name__
        return method


class _Async(Generic[P, T]):
    """The same for asyncio."""

    def __init__(self, make: Callable[P, Call[T]]) -> None:
        self.make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> _Async[P, T]: ...

    @overload
    def __get__(
        self, instance: AsyncStentor, owner: type[Any]
    ) -> Callable[P, Awaitable[T]]: ...

    def __get__(self, instance: AsyncStentor | None, owner: type[Any]) -> Any:
        if instance is None:
            return self

        async def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return await instance.perform(self.make(*args, **kwargs))

        method.__doc__, method.__name__ = self.__doc__, self.make.__name__
        return method


class Stentor:
    """A server's API. May be used by several threads at once.

    `url` is the admin address, or the clients' one where the server has `--public-api true`. `http`
    is an httpx client to use, for proxies and certificates of one's own; its owner closes it.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        *,
        timeout: float = 5.0,
        retries: int = 2,
        http: httpx.Client | None = None,
    ) -> None:
        self._exchange = Exchange(url, key, timeout, retries)
        self._http = http or httpx.Client()
        self._is_own = http is None

    def perform(self, call: Call[T]) -> T:
        """Performs a call, several times if need be and if it does no harm."""
        attempt = self._exchange.begin(call)
        while True:
            try:
                answer: httpx.Response | httpx.TransportError
                answer = self._http.send(attempt.request(self._http))
            except httpx.TransportError as error:
                answer = error
            pause_s = attempt.take(answer)
            if pause_s is None:
                return attempt.result()
            time.sleep(pause_s)

    def close(self) -> None:
        """Closes the connections."""
        if self._is_own:
            self._http.close()

    def __enter__(self) -> Stentor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    publish = _Sync(calls.publish)
    broadcast = _Sync(calls.broadcast)
    direct = _Sync(calls.direct)
    subscribe = _Sync(calls.subscribe)
    unsubscribe = _Sync(calls.unsubscribe)
    disconnect = _Sync(calls.disconnect)
    refresh = _Sync(calls.refresh)
    revoke = _Sync(calls.revoke)
    presence = _Sync(calls.presence)
    presence_stats = _Sync(calls.presence_stats)
    history = _Sync(calls.history)
    history_remove = _Sync(calls.history_remove)
    channels = _Sync(calls.channels)
    info = _Sync(calls.info)
    reload = _Sync(calls.reload)
    batch = _Sync(calls.batch)


class AsyncStentor:
    """The same for asyncio: each method is awaited."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        *,
        timeout: float = 5.0,
        retries: int = 2,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._exchange = Exchange(url, key, timeout, retries)
        self._http = http or httpx.AsyncClient()
        self._is_own = http is None

    async def perform(self, call: Call[T]) -> T:
        """Performs a call, several times if need be and if it does no harm."""
        attempt = self._exchange.begin(call)
        while True:
            try:
                answer: httpx.Response | httpx.TransportError
                answer = await self._http.send(attempt.request(self._http))
            except httpx.TransportError as error:
                answer = error
            pause_s = attempt.take(answer)
            if pause_s is None:
                return attempt.result()
            await asyncio.sleep(pause_s)

    async def close(self) -> None:
        """Closes the connections."""
        if self._is_own:
            await self._http.aclose()

    async def __aenter__(self) -> AsyncStentor:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    publish = _Async(calls.publish)
    broadcast = _Async(calls.broadcast)
    direct = _Async(calls.direct)
    subscribe = _Async(calls.subscribe)
    unsubscribe = _Async(calls.unsubscribe)
    disconnect = _Async(calls.disconnect)
    refresh = _Async(calls.refresh)
    revoke = _Async(calls.revoke)
    presence = _Async(calls.presence)
    presence_stats = _Async(calls.presence_stats)
    history = _Async(calls.history)
    history_remove = _Async(calls.history_remove)
    channels = _Async(calls.channels)
    info = _Async(calls.info)
    reload = _Async(calls.reload)
    batch = _Async(calls.batch)
