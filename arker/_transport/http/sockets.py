"""WebSockets over aiohttp, without retries. Loaded when the first one is opened."""

from __future__ import annotations

import contextlib
import select
import socket as sockets
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from attrs import frozen
from multidict import CIMultiDict
from yarl import URL

from arker._protocol.request import Response
from arker._tasks import clock
from arker._transport.http.failures import explain
from arker._transport.http.opened import EXCHANGE_ERRORS
from arker._transport.http.replies import read_excerpt

_CLOSE_SECONDS: Final = 5.0
"""Seconds that the other side has to answer the end of a connection."""
_LEAVING_SECONDS: Final = 2.0
"""Seconds that the other side has to take what was sent before the end."""
_LOST_SECONDS: Final = 60.0
"""Seconds in which the other side has to take what was sent, where the system can watch over that."""
_TURNS: Final = 3
_LARGEST_FRAME: Final = 16 * 1024 * 1024
ABNORMAL: Final = 1006
"""The code of a connection that ended without a word."""


@frozen
class Closed:
    """The end of a connection.

    Attributes:
        code: The other side's code; `ABNORMAL` if it sent none.
        reason: What it said, for people.
    """

    code: int
    reason: str = ""


class HandshakeRefusedError(Exception):
    """The error for a server that answered a handshake with a response of another kind."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


async def refuse_other_replies(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Raise for a reply that opens no WebSocket, with its body: aiohttp drops that, and follows redirects."""
    response = await handler(request)
    if response.status == 101:
        return response
    async with response:
        raise HandshakeRefusedError(Response(response.status, response.headers, await read_excerpt(response)))


class Socket:
    """An open WebSocket. One task at a time may receive from it, and one may send."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool], url: URL, session: aiohttp.ClientSession) -> None:
        """Wrap an open connection, which came from this URL and belongs to this session."""
        self._socket = socket
        self._url = url
        self._session = session
        self._is_over = False

    @property
    def usable(self) -> bool:
        """Whether something can be sent, as far as is known."""
        return not (self._is_over or self._socket.closed)

    async def send(self, data: bytes | memoryview) -> None:
        """Send a binary frame; raises `ExchangeFailedError`."""
        try:
            await self._socket.send_bytes(data)  # type: ignore[arg-type]  # it takes any buffer
        except EXCHANGE_ERRORS as error:
            self._is_over = True
            raise explain(error, self._url, self._session) from None

    async def send_text(self, text: str) -> None:
        """Send a text frame; raises `ExchangeFailedError`."""
        try:
            await self._socket.send_str(text)
        except EXCHANGE_ERRORS as error:
            self._is_over = True
            raise explain(error, self._url, self._session) from None

    async def receive(self) -> bytes | Closed:
        """Return the next binary frame, or the end of the connection. Text frames are skipped."""
        while True:
            try:
                message: Any = await self._socket.receive()
            except EXCHANGE_ERRORS:
                self._is_over = True
                return Closed(ABNORMAL)
            if message.type is aiohttp.WSMsgType.BINARY:
                return bytes(message.data)
            if message.type is aiohttp.WSMsgType.TEXT:
                continue
            self._is_over = True
            # Only a frame is the other side's word: a lost connection may have a code of aiohttp's own.
            if message.type is aiohttp.WSMsgType.CLOSE:
                return Closed(int(message.data) or ABNORMAL, str(message.extra or ""))  # 0: the frame has no code
            return Closed(ABNORMAL)

    async def close(self) -> None:
        """Close the connection, within a bound. What the other side does not take soon is dropped."""
        self._is_over = True
        with contextlib.suppress(*EXCHANGE_ERRORS):
            connection = self._socket.get_extra_info("socket")
            # Without an end to the sending, closing would wait for that, and so would each task that sends.
            if connection is not None and not await _all_sent(connection):
                with sockets.fromfd(connection.fileno(), connection.family, connection.type) as same:
                    same.shutdown(sockets.SHUT_RDWR)
        # By itself: a connection that was lost just before has no descriptor any more, and is an error above.
        with contextlib.suppress(*EXCHANGE_ERRORS):
            await self._socket.close()


async def _all_sent(connection: sockets.socket) -> bool:
    """Wait some time until the system has taken everything that is to be sent. Returns whether it has.

    The event loop sends whenever the system takes something, so after some turns of it the system takes something
    only if there was nothing left to send.
    """
    pause = 0.0
    turns = 0
    until = clock.now() + _LEAVING_SECONDS
    while turns < _TURNS:
        await clock.sleep(pause)
        if _takes_more(connection):
            turns += 1
        elif clock.now() > until:
            return False
        else:
            pause, turns = 0.01, 0
    return True


def _takes_more(connection: sockets.socket) -> bool:
    if hasattr(select, "poll"):  # the other way has no descriptors above 1,023
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLOUT)
        return bool(poll.poll(0))
    return bool(select.select([], [connection.fileno()], [], 0)[1])


async def open_socket(
    session: aiohttp.ClientSession, url: URL, headers: Mapping[str, str], *, proxy: str | None
) -> Socket:
    """Open a WebSocket; raises `ExchangeFailedError`, or `HandshakeRefusedError` with the server's reply."""
    try:
        opened = await session.ws_connect(
            url,
            headers=CIMultiDict(headers),
            proxy=proxy,
            autoping=True,
            compress=0,
            max_msg_size=_LARGEST_FRAME,
            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),  # pyright: ignore[reportCallIssue]
        )
    except aiohttp.WSServerHandshakeError as error:
        # Of a session of the caller's, or of a server that does not speak the protocol.
        raise HandshakeRefusedError(Response(error.status, error.headers or {}, b"")) from None
    except EXCHANGE_ERRORS as error:
        raise explain(error, url, session) from None
    connection = opened.get_extra_info("socket")
    option: int | None = getattr(sockets, "TCP_USER_TIMEOUT", None)
    if connection is not None and option is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(sockets.IPPROTO_TCP, option, int(_LOST_SECONDS * 1000))
    return Socket(opened, url, session)


__all__ = ["ABNORMAL", "Closed", "HandshakeRefusedError", "Socket", "open_socket", "refuse_other_replies"]
