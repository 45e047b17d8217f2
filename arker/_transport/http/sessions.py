"""aiohttp's sessions: one for each event loop, or the caller's. Loaded at the first request."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import sys
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import partial
from http.cookies import BaseCookie, SimpleCookie
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from attrs import define, field
from yarl import URL

from arker._basics.descriptors import NONE_LEFT, is_spared, none_left
from arker._basics.guidance import CLOSED
from arker._tasks import clock
from arker._tasks.process import hand_in, keep_in_child
from arker._tasks.running_loop import running_loop
from arker._transport.http.closing import (
    close_elsewhere,
    close_elsewhere_blocking,
    finish,
    finish_soon,
    finish_without_loop,
)
from arker._transport.http.resolver import Resolver
from arker._transport.http.silence import Silences
from arker.errors import ConfigurationError

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

logger = logging.getLogger("arker")

AUTO_HEADERS: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
"""Headers that aiohttp adds to a request without them. To leave them out takes longer than to have them all."""
_NO_PLACE_SECONDS: Final = 60.0
"""Seconds that a request waits for a descriptor before that counts as a failure."""
_NO_PLACE_PAUSE: Final = 0.05


class LostError(aiohttp.ClientError):
    """An error for a connection lost after the request had been handed to it."""


async def no_hidden_retry(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a request by itself on a kept-alive connection: every attempt is counted."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        raise LostError from None


def _keepalive_socket(address: tuple[Any, ...]) -> socket.socket:
    """Make a socket that detects within two minutes that the other side has vanished.

    A foreground run is silent until its command has ended, so silence alone says nothing.
    """
    family, kind, protocol, *_ = address
    connection = socket.socket(family=family, type=kind, proto=protocol)
    if is_spared(connection.fileno()):
        connection.close()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):  # not on every system
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return connection


_TCP_INFO: Final = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None
_ROUND_TRIP_AT: Final = 68
"""Offset of the round trip in Linux's ``struct tcp_info``: microseconds, in four bytes."""


def round_trip(connection: socket.socket) -> float | None:
    """Return the seconds that packets take there and back, as the kernel measures them; None if that is unknown."""
    if _TCP_INFO is None:
        return None
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ROUND_TRIP_AT + 4)
    except OSError:
        return None  # it has just been lost, or is no TCP connection
    found = int.from_bytes(told[_ROUND_TRIP_AT:], sys.byteorder) if len(told) == _ROUND_TRIP_AT + 4 else 0
    return found / 1e6 if found else None


class _NoCookies(aiohttp.DummyCookieJar):
    """A cookie jar that stays empty, and does not make an empty value for each request."""

    _none: Final = SimpleCookie()

    def filter_cookies(self, request_url: URL) -> BaseCookie[str]:
        return self._none


class _Connector(aiohttp.TCPConnector):
    """A connector that reports a lack of descriptors as a lack of places, not as a failed request."""

    owner: Callable[[], LoopSessions | None] = lambda: None
    """Returns whose it is, unless that is gone: its connections may outlive a client that is forgotten."""
    _told: frozenset[str | None] = frozenset()
    silences: Silences | None = None
    """Told of the connections of requests with `bounded` as their timeout."""
    bounded: aiohttp.ClientTimeout | None = None

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        give_up = clock.now() + _NO_PLACE_SECONDS
        robbed = False
        while True:
            try:
                connection = await super().connect(req, traces, timeout)
            except BaseException as error:
                if isinstance(error, KeyError) and not robbed:
                    # Another request has just cleared the addresses, of which this one had waited for one.
                    robbed = True
                    continue
                lacking = none_left()
                if not lacking:
                    # Also where the caller's patience has ended first. The server may have moved, so the next attempt
                    # looks its address up again, which needs a descriptor.
                    self.clear_dns_cache()
                if not isinstance(error, aiohttp.ClientConnectorError):
                    raise
                if isinstance(error, aiohttp.ClientConnectorCertificateError):
                    raise  # it is no lack of descriptors, and in aiohttp 3.12 it has no `os_error`
                # The names of hosts cannot be looked up without descriptors either, and that has a number of its own.
                if not (lacking or error.os_error.errno in NONE_LEFT) or clock.now() > give_up:
                    raise
            else:
                if req.url.raw_host not in self._told:
                    self._learn_round_trip(req, connection)
                if timeout is self.bounded and self.silences is not None:
                    self.silences.begin(connection)
                return connection
            await clock.sleep(_NO_PLACE_PAUSE)

    def _learn_round_trip(self, req: aiohttp.ClientRequest, connection: Connection) -> None:
        self._told |= {req.url.raw_host}
        transport = connection.transport
        # A proxy may be near where the server is far away.
        used = None if transport is None or req.proxy is not None else transport.get_extra_info("socket")
        seconds = None if used is None else round_trip(used)
        owner = self.owner()
        if seconds is not None and owner is not None:
            owner.learn_round_trip(seconds)


@define(eq=False)
class InUse:
    """The session of one loop.

    Attributes:
        session: The session.
        silences: The bound on the silence of connections, for requests that are sent without a timeout of their own;
            None if aiohttp has it.
    """

    session: aiohttp.ClientSession
    silences: Silences | None = None


@define(eq=False)
class _Entry(InUse):
    """All sessions of one loop, which share their connections.

    Attributes:
        all: The one that adds the headers, and the bare one, if that was made.
        guard: Closes them.
    """

    all: list[aiohttp.ClientSession] = field(kw_only=True)
    guard: AsyncGenerator[None, None] = field(kw_only=True)


async def _guard(
    entries: dict[asyncio.AbstractEventLoop, _Entry],
    reading: set[tuple[asyncio.AbstractEventLoop, aiohttp.StreamReader]],
    loop: asyncio.AbstractEventLoop,
    sessions: list[aiohttp.ClientSession],
    resolver: Resolver,
) -> AsyncGenerator[None, None]:
    """Close the sessions of a loop, and wake who reads by them, when this generator is closed."""
    try:
        yield
    finally:
        entries.pop(loop, None)
        for reader in list(reading):
            if reader[0] is loop and not reader[1].is_eof():
                reader[1].set_exception(LostError())
        for session in sessions:
            await session.close()
        await resolver.close()


def _close_forgotten(entries: dict[asyncio.AbstractEventLoop, _Entry]) -> None:
    """Close the sessions of a forgotten client in their loops.

    Garbage may be collected at any moment, and a session that is garbage itself is reported by aiohttp as not closed.
    """
    for loop, entry in list(entries.items()):
        if loop.is_closed():
            finish_without_loop(entry.guard)
            continue
        # A loop that is being shut down closes it itself, and would object to a generator that is being closed already.
        # Two turns from now it has begun.
        try:
            loop.call_soon_threadsafe(loop.call_soon, finish_soon, loop, entry.guard)
        except RuntimeError:  # the loop has ended meanwhile
            finish_without_loop(entry.guard)


class LoopSessions:
    """The sessions of all event loops that send requests: one for each, closed with its loop at the latest.

    A session is bound to its loop, so a client that is kept in a module and used from a second ``asyncio.run``, or from
    loops in two threads, needs one for each.
    """

    def __init__(
        self,
        max_connections: int | None,
        timeout: aiohttp.ClientTimeout,
        middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = (),
        tell_round_trip: Callable[[float], None] | None = None,
        skip_auto_headers: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        idle: float | None = None,
        in_new_loop: Callable[[], None] = lambda: None,
    ) -> None:
        """Make none yet.

        Args:
            max_connections: The number of connections at once; None for no limit.
            timeout: The bounds of requests, beside ``idle``.
            middlewares: What goes around each request, from the outside in.
            tell_round_trip: Called with the round trip to each host, in seconds, when it is first connected to.
            skip_auto_headers: Headers that aiohttp must not add.
            headers: Headers of each request, except those by a bare session.
            idle: Bound on the silence of connections, in seconds, for requests without a timeout of their own.
            in_new_loop: Called when the session of a loop has been made.
        """
        self._in_new_loop = in_new_loop
        self._max_connections = max_connections
        self._tell_round_trip = tell_round_trip
        self._timeout = timeout
        self._skip_auto_headers = skip_auto_headers
        self._headers = headers
        self._idle = idle
        self._middlewares = (*middlewares, no_hidden_retry)
        self._closed = False
        # Nothing that these lead to leads to this object, so they outlive it until they are closed.
        self._entries: dict[asyncio.AbstractEventLoop, _Entry] = {}
        self._reading: set[tuple[asyncio.AbstractEventLoop, aiohttp.StreamReader]] = set()
        weakref.finalize(self, _close_forgotten, self._entries).atexit = False
        _all.add(self)

    def learn_round_trip(self, seconds: float) -> None:
        """Pass the round trip to a host on."""
        if self._tell_round_trip is not None:
            self._tell_round_trip(seconds)

    def reading(self, content: aiohttp.StreamReader) -> Callable[[], None]:
        """Note that a body is being read. Call the result afterwards.

        Closing the session wakes the reader: aiohttp does not do so when it closes the connection itself.
        """
        entry = running_loop(), content
        self._reading.add(entry)
        return partial(self._reading.discard, entry)

    def in_use(self) -> InUse:
        """Return what there is for the running loop."""
        try:
            return self._entries[asyncio.get_running_loop()]  # as nearly always
        except (KeyError, RuntimeError):
            return self._open(running_loop())

    def get(self) -> aiohttp.ClientSession:
        """Return the session of the running loop."""
        return self.in_use().session

    def bare(self) -> aiohttp.ClientSession:
        """Return a session of the running loop that adds no headers, such as the API key. It has the same places."""
        loop = running_loop()
        entry = self._entries.get(loop) or self._open(loop)
        if self._headers is not None and len(entry.all) == 1:
            entry.all.append(self._made(entry.session.connector, headers=None, connector_owner=False))
        return entry.all[-1]

    def _made(self, connector: aiohttp.BaseConnector | None, **options: Any) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=_NoCookies(),
            skip_auto_headers=self._skip_auto_headers or None,
            timeout=self._timeout,
            middlewares=self._middlewares,
            **options,
        )

    def _open(self, loop: asyncio.AbstractEventLoop) -> _Entry:
        if self._closed:
            # The client was closed while a call waited for its next attempt; a new session would never be closed.
            raise ConfigurationError(CLOSED)
        self.finish_ended()
        connector = _Connector(
            # With one place, the limiter lets in one more beside a run.
            limit=0 if self._max_connections is None else max(2, self._max_connections),
            limit_per_host=0,
            ttl_dns_cache=300,
            resolver=(resolver := Resolver()),
            socket_factory=_keepalive_socket,
        )
        connector.owner = weakref.ref(self)
        if self._idle is not None:
            connector.bounded, connector.silences = self._timeout, Silences(loop, self._idle)
        session = self._made(connector, headers=self._headers)
        guard = _guard(self._entries, self._reading, loop, sessions := [session], resolver)
        # An async generator that has been started is closed by the loop's shutdown_asyncgens(), and the session with
        # it. It yields before it awaits anything, so a single step starts it.
        try:
            guard.__anext__().send(None)
        except StopIteration:
            pass
        entry = self._entries[loop] = _Entry(session, connector.silences, all=sessions, guard=guard)
        self._in_new_loop()
        return entry

    def forget_other_threads(self) -> None:
        """Drop the parent's sessions in a child of ``os.fork()``, for loops whose threads do not exist here."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        for loop in [other for other in self._entries if other is not here]:
            keep_in_child(self._entries.pop(loop))

    def finish_ended(self) -> None:
        """Close the sessions of loops that were closed before them."""
        for entry in [entry for loop, entry in list(self._entries.items()) if loop.is_closed()]:
            finish_without_loop(entry.guard)

    async def aclose(self) -> None:
        """Close the sessions of this loop and of the loops in other threads."""
        self._closed = True
        self.finish_ended()
        here = asyncio.get_running_loop()
        for loop, entry in list(self._entries.items()):
            if loop is here:
                await finish(entry.guard)
            elif loop.is_running():
                await close_elsewhere(loop, entry.guard)
            # A loop that has stopped closes its session itself, when it is shut down.

    def close_outside(self) -> None:
        """Close every session from a thread without a running event loop.

        A loop that is not running is run to close its session.
        """
        self._closed = True
        self.finish_ended()
        for loop, entry in list(self._entries.items()):
            if loop.is_running():
                close_elsewhere_blocking(loop, entry.guard)
            else:
                loop.run_until_complete(finish(entry.guard))


_all: weakref.WeakSet[LoopSessions] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for sessions in list(_all):
        sessions.forget_other_threads()


def _at_exit() -> None:
    for sessions in list(_all):
        sessions.finish_ended()


hand_in("connections", in_child=_after_fork_in_child, at_exit=_at_exit)


__all__ = [
    "AUTO_HEADERS",
    "InUse",
    "LoopSessions",
    "LostError",
    "no_hidden_retry",
    "round_trip",
]
