"""Bodies that pass piece by piece, and what a fault does to them on the way: slower, cut short, or not at all."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Final

from aiohttp import web

from arker.emulator.server.journal.trace import Shaping, trace_of

_BEATS: Final = 40
"""Pieces per second of a throttled body."""
_CREDIT: Final = 1 / 20
"""Seconds that a throttled body may catch up at once, after the machine was busy otherwise."""
_ABORT: Final = struct.pack("ii", 1, 0)


class Pacer:
    """A limiter of the byte rate: each piece is delayed first by the time that it takes at this rate."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._due = time.monotonic()
        self.piece = max(1, int(rate / _BEATS))
        """Bytes that should be passed at once."""

    async def pay(self, count: int) -> None:
        now = time.monotonic()
        self._due = max(self._due, now - _CREDIT) + count / self._rate
        if self._due > now:
            await asyncio.sleep(self._due - now)


def cut(request: web.BaseRequest, *, reset: bool = False) -> None:
    """Cut the connection of a request. Written data is still sent, unless the connection is reset."""
    transport = request.transport
    if transport is None:
        return
    if not reset:
        transport.close()
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    transport.abort()


def gone(request: web.BaseRequest) -> bool:
    """Return whether nothing can be sent any more."""
    transport = request.transport
    return transport is None or transport.is_closing()


def head(response: web.StreamResponse, request_id: str) -> bytes:
    """Return the status line and the header fields of a reply that is written by hand."""
    fields = {**response.headers, "Content-Length": str(response.content_length or 0), "x-request-id": request_id}
    lines = [f"HTTP/1.1 {response.status} {response.reason}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def part_of(size: int, fraction: float) -> int:
    """Return how many bytes of a body to send when it is cut short: never all of them."""
    return max(0, min(int(size * fraction), size - 1))


async def send(
    request: web.Request, response: web.StreamResponse, pieces: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    """Send a reply with a known ``Content-Length`` piece by piece."""
    shaping = trace_of(request).shaping
    async with aclosing(pieces):
        if shaping is None:
            await response.prepare(request)
            async for piece in pieces:
                await response.write(piece)
            await response.write_eof()
        elif not shaping.discard:
            await shaping.held()
            await _send_shaped(request, response, pieces, shaping)
    return response


async def _send_shaped(
    request: web.Request, response: web.StreamResponse, pieces: AsyncIterator[bytes], shaping: Shaping
) -> None:
    left: int | None = None
    if shaping.fraction is not None:
        left = part_of(response.content_length or 0, shaping.fraction)
        shaping.sent = response.status
        if left == 0:
            write_part(request, response, b"")
            return
    pacer = None if shaping.rate is None else Pacer(shaping.rate)
    await response.prepare(request)
    async for piece in pieces:
        for part in [piece] if pacer is None else _slices(piece, pacer.piece):
            passing = part if left is None else part[:left]
            if pacer is not None:
                await pacer.pay(len(passing))
            await response.write(passing)
            if left is not None:
                left -= len(passing)
                if left == 0:
                    cut(request)
                    return
    await response.write_eof()


async def open_socket(request: web.Request, socket: web.WebSocketResponse) -> bool:
    """Answer the handshake of a WebSocket. Returns whether the connection goes on: a fault may have ended it, or
    answers in another way.
    """
    shaping = trace_of(request).shaping
    if shaping is not None:
        await shaping.held()
        if shaping.discard:
            return False
    await socket.prepare(request)
    if shaping is None or shaping.fraction is None:
        return True
    shaping.sent = socket.status
    cut(request)
    return False


def write_part(request: web.Request, response: web.StreamResponse, part: bytes) -> None:
    """Write a reply's head and a part of its body, and end the connection."""
    transport = request.transport
    if transport is not None and not transport.is_closing():
        transport.write(head(response, trace_of(request).request_id) + part)
    cut(request)


def _slices(piece: bytes, size: int) -> Iterator[bytes | memoryview]:
    view = memoryview(piece)
    for start in range(0, len(view), size):
        yield view[start : start + size]


async def incoming(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the body of a request, in pieces as they arrive.

    Raises:
        ConnectionResetError: A fault has ended the connection.
    """
    shaping = trace_of(request).shaping
    if shaping is None or (shaping.rate is None and shaping.fraction is None):
        async for piece in request.content.iter_any():
            yield piece
        return
    pacer = None if shaping.rate is None else Pacer(shaping.rate)
    left = None if shaping.fraction is None else part_of(request.content_length or 0, shaping.fraction)
    largest = 256 * 1024 if pacer is None else pacer.piece
    while left != 0:
        piece = await request.content.read(largest if left is None else min(largest, left))
        if not piece:
            return
        if pacer is not None:
            await pacer.pay(len(piece))
        if left is not None:
            left -= len(piece)
        yield piece
    cut(request)
    raise ConnectionResetError("a fault has ended the connection")


__all__ = ["Pacer", "cut", "gone", "head", "incoming", "open_socket", "part_of", "send", "write_part"]
