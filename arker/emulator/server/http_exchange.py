"""HTTP/1.1 exchanges that are passed on: one request in, a connection of its own to the far end, one response out.

What tunnels into VMs and the way out of them have in common. Requests are parsed one by one and written anew
(`http_heads`), so that nothing which a client sends can be taken for another request than the one that was checked.
What streams through is never held: each direction moves a piece on only when the other side has taken the one before.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from attrs import define, frozen

from arker.emulator.server.http_heads import (
    MAX_HEAD,
    Fields,
    Framing,
    HeadError,
    RequestHead,
    ResponseHead,
    parse_response,
    write_head,
)

_PIECE: Final = 64 * 1024
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?\r\n")
_MAX_TRAILERS: Final = 100
_LINGER: Final = 5.0  # seconds for an answer to a client that has sent its end
_HALF_OPEN: Final = 300.0  # seconds without a byte after one half of a connection has ended
_CLOSE: Final[Fields] = (("Connection", "close"),)
_SWITCH: Final[Fields] = (("Connection", "Upgrade"), ("Upgrade", "websocket"))
_REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden by Network Policy",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    504: "Gateway Timeout",
}


class Refusal(Exception):
    """An answer of our own to a client's request; the connection ends with it, since a body may be under way.

    Attributes:
        status: 400, 401, 403, 431, 502 or 504.
        code: The error code of the body.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Cut(Exception):
    """The message breaks off: whoever receives it must see that, so its connection is cut."""


class ClientReader(asyncio.StreamReader):
    """Tells when the other side has gone, even while nobody reads."""

    def __init__(self) -> None:
        super().__init__(limit=MAX_HEAD)
        self.over = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.over.set()

    def set_exception(self, exc: Exception) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().set_exception(exc)
        self.over.set()


@frozen
class Far:
    """A connection to whoever is to answer, and what to call it in messages."""

    name: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def over(cls, name: str, connection: socket.socket) -> Far:
        """Over a connected socket, which it owns from now on."""
        try:
            return cls(name, *await asyncio.open_connection(sock=connection, limit=MAX_HEAD))
        except BaseException:
            connection.close()
            raise

    def cut(self) -> None:
        self.writer.transport.abort()


class Exchange:
    """A request on its way to the far end and its response on its way back, both at the same time.

    Args:
        head: The request.
        reader: Where its body comes from.
        writer: Where the response goes to.
        far: Who answers; whoever made the connection ends it.
        target: What the request line asks for there.
        fields: The header fields to send there, without those of the connection and the body's length.
    """

    def __init__(
        self,
        head: RequestHead,
        reader: ClientReader,
        writer: asyncio.StreamWriter,
        far: Far,
        *,
        target: str,
        fields: Fields,
    ) -> None:
        self._head = head
        self._reader = reader
        self._writer = writer
        self._far = far
        self._target = target
        self._fields = fields
        self._sent = False
        """Whether the request has been passed on as a whole."""
        self._begun = False
        """Whether anything of the response has gone out."""

    async def carry_out(self) -> bool:
        """Whether the client's connection can carry another request afterwards; raises `Refusal` and `Cut`."""
        sending = asyncio.ensure_future(self._send())
        answering = asyncio.ensure_future(self._answer(sending))
        tasks = (sending, answering, asyncio.ensure_future(self._watch(sending)))
        try:
            await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                await tasks[2]
            return await answering and self._sent
        except Refusal as refusal:
            if self._begun:
                raise Cut from refusal
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self) -> None:
        head, far = self._head, self._far.writer
        connection = _SWITCH if head.upgrade else _CLOSE
        start = f"{head.method} {self._target} HTTP/1.1"
        far.write(write_head(start, self._fields, head.framing.fields, connection))
        try:
            await _copy_body(head.framing, self._reader, far, chunked=head.framing.chunked)
        except HeadError as error:
            raise Refusal(400, "bad_request", f"the request's body is malformed: {error}") from None
        self._sent = True

    async def _watch(self, sending: asyncio.Future[None]) -> None:
        """Fails when the exchange has come to nothing on the client's side; never returns."""
        try:
            await asyncio.shield(sending)
        except OSError:
            if self._reader.over.is_set():
                raise Cut from None
            # The far end has stopped reading; its answer may say why.
        except asyncio.IncompleteReadError:
            raise Cut from None
        if self._head.upgrade:
            await asyncio.Event().wait()
        await self._reader.over.wait()
        # Some clients end their half of the connection with their last request, and still want the answer.
        await asyncio.sleep(_LINGER)
        raise Cut

    async def _answer(self, sending: asyncio.Future[None]) -> bool:
        head, far, writer = self._head, self._far.reader, self._writer
        response = await self._final_response()
        start = f"HTTP/1.1 {response.status} {response.reason}"
        self._begun = True
        if response.status == 101:
            writer.write(write_head(start, response.end_to_end(), _SWITCH))
            await asyncio.shield(sending)
            await splice(self._reader, writer, self._far)
            return False
        framing, has_body = response.framing, response.has_body(head.method)
        to_end = has_body and framing == Framing()
        # A body up to the end of the connection becomes chunks, so that the client's connection can go on.
        chunked = head.minor == 1 and has_body and (framing.chunked or to_end)
        keep = head.keep_alive and self._sent
        length = () if framing.chunked or to_end or response.status == 204 else framing.fields
        coding = Framing(chunked=True).fields if chunked else length
        writer.write(write_head(start, response.end_to_end(), coding, () if keep else _CLOSE))
        if has_body:
            try:
                if to_end:
                    await _copy_all(far, writer, chunked=chunked)
                else:
                    await _copy_body(framing, far, writer, chunked=chunked)
            except (HeadError, OSError, asyncio.IncompleteReadError) as error:
                raise Cut from error
        await writer.drain()
        return keep

    async def _final_response(self) -> ResponseHead:
        """The response's head; interim ones (100 Continue) are passed on as they come."""
        while True:
            try:
                response = parse_response(await self._far.reader.readuntil(b"\r\n\r\n"))
            except (HeadError, asyncio.LimitOverrunError, asyncio.IncompleteReadError, OSError) as error:
                raise Refusal(502, "unavailable", f"{self._far.name} did not answer in HTTP/1.1") from error
            if response.status == 101 and not self._head.upgrade:
                raise Refusal(502, "unavailable", f"{self._far.name} changed to another protocol unasked")
            if not response.interim:
                return response
            if self._head.minor == 1:
                start = f"HTTP/1.1 {response.status} {response.reason}"
                self._writer.write(write_head(start, response.end_to_end()))
                await self._writer.drain()


async def splice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, far: Far) -> None:
    """Pass everything on in both directions until both have ended; either may end before the other."""
    meter = _Meter()
    ways = [
        asyncio.ensure_future(_copy_all(far.reader, writer, meter=meter)),
        asyncio.ensure_future(_copy_all(reader, far.writer, meter=meter)),
    ]
    pending = set(ways)
    try:
        while pending:
            before = meter.pieces
            # Whoever has ended one half and whoever has gone look alike, as long as nothing is sent to them.
            patience = None if len(pending) == len(ways) else _HALF_OPEN
            done, pending = await asyncio.wait(pending, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
            if not done and meter.pieces == before:
                raise Cut
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def serve(
    reader: ClientReader,
    writer: asyncio.StreamWriter,
    parse: Callable[[bytes], RequestHead],
    exchange: Callable[[RequestHead], Awaitable[bool]],
) -> None:
    """Serve a client's connection up to its end.

    Args:
        reader: From the client.
        writer: To the client.
        parse: Makes a request of a head's bytes; raises `HeadError`.
        exchange: Answers a request; whether the connection can carry another; raises `Refusal` and `Cut`.
    """
    try:
        while await _serve_one(reader, writer, parse, exchange):
            pass
        writer.close()
        await writer.wait_closed()
    except (Cut, OSError, asyncio.IncompleteReadError):  # also what networks outside of this machine report
        pass
    finally:
        writer.transport.abort()  # after an orderly close it does nothing


async def _serve_one(
    reader: ClientReader,
    writer: asyncio.StreamWriter,
    parse: Callable[[bytes], RequestHead],
    exchange: Callable[[RequestHead], Awaitable[bool]],
) -> bool:
    try:
        head = await _read_request(reader, parse)
        return head is not None and await exchange(head)
    except Refusal as refusal:
        await _refuse(reader, writer, refusal)
        return False


async def _read_request(reader: ClientReader, parse: Callable[[bytes], RequestHead]) -> RequestHead | None:
    """The next request; None when the client has closed the connection instead."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
        return parse(raw)
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise Refusal(400, "bad_request", "the request ends amid its head") from None
        return None
    except asyncio.LimitOverrunError:
        raise Refusal(431, "bad_request", f"the request's head has more than {MAX_HEAD} bytes") from None
    except HeadError as error:
        raise Refusal(400, "bad_request", str(error)) from None


async def _refuse(reader: ClientReader, writer: asyncio.StreamWriter, refusal: Refusal) -> None:
    body = json.dumps({"code": refusal.code, "message": str(refusal)}).encode()
    fields = (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *_CLOSE)
    challenge = (("WWW-Authenticate", "Bearer"),) if refusal.status == 401 else ()
    writer.write(write_head(f"HTTP/1.1 {refusal.status} {_REASONS[refusal.status]}", fields, challenge) + body)
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        await writer.drain()
        writer.write_eof()
        # Data that nobody reads would turn the close into a reset, which can take the answer with it.
        await asyncio.wait_for(_discard(reader), 1.0)


async def _discard(reader: ClientReader) -> None:
    while await reader.read(_PIECE):
        pass


async def _copy_body(
    framing: Framing, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, chunked: bool
) -> None:
    """Copy exactly one body, in chunks of its own or bare."""
    if not framing.chunked:
        await _copy_bytes(framing.length or 0, reader, writer)
        return
    while True:
        match = _CHUNK_SIZE.fullmatch(await _read_line(reader))
        if match is None:
            raise HeadError("a chunk's size is malformed")
        size = int(match[1], 16)
        if size == 0:
            break
        if chunked:
            writer.write(b"%x\r\n" % size)
        await _copy_bytes(size, reader, writer)
        if await reader.readexactly(2) != b"\r\n":
            raise HeadError("a chunk is longer than its size")
        if chunked:
            writer.write(b"\r\n")
    for _ in range(_MAX_TRAILERS):  # left out: nobody that was asked for them can be told
        if await _read_line(reader) == b"\r\n":
            break
    else:
        raise HeadError("there are too many trailers")
    if chunked:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n")
    except asyncio.LimitOverrunError:
        raise HeadError("a line is too long") from None


async def _copy_bytes(count: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while count:
        piece = await reader.read(min(count, _PIECE))
        if not piece:
            raise asyncio.IncompleteReadError(b"", count)
        count -= len(piece)
        writer.write(piece)
        await writer.drain()


@define
class _Meter:
    pieces: int = 0


async def _copy_all(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, chunked: bool = False, meter: _Meter | None = None
) -> None:
    """Copy up to the end, and pass the end on."""
    while piece := await reader.read(_PIECE):
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
        if meter is not None:
            meter.pieces += 1
    if chunked:
        writer.write(b"0\r\n\r\n")
        await writer.drain()
    elif writer.can_write_eof():
        writer.write_eof()


__all__ = ["ClientReader", "Cut", "Exchange", "Far", "Refusal", "serve", "splice"]
