"""The way of a tunnel's traffic: a loopback listener outside, a connection into the VM for each request.

Requests are parsed one by one and written anew (`http_heads`), each over a connection of its own, so that nothing which
a client sends can be taken for another client's request, or reach the VM without its token having been checked. What
streams through is never held: each direction moves a piece on only when the other side has taken the one before.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.server.http_heads import (
    MAX_HEAD,
    Fields,
    Framing,
    HeadError,
    RequestHead,
    ResponseHead,
    parse_request,
    parse_response,
    write_head,
)

_PIECE: Final = 64 * 1024
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?\r\n")
_MAX_TRAILERS: Final = 100
_LINGER: Final = 5.0  # seconds for an answer to a client that has sent its end
_CLOSE: Final[Fields] = (("Connection", "close"),)
_SWITCH: Final[Fields] = (("Connection", "Upgrade"), ("Upgrade", "websocket"))
_REASONS = {400: "Bad Request", 401: "Unauthorized", 431: "Request Header Fields Too Large", 502: "Bad Gateway"}

Connect = Callable[[], Awaitable[socket.socket]]


class _Refusal(Exception):
    """An answer that the tunnel gives itself; the connection ends with it, since a body may be under way."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class _Cut(Exception):
    """The message breaks off: whoever receives it must see that, so its connection is cut."""


class _Reader(asyncio.StreamReader):
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


class TunnelProxy:
    """A listener on 127.0.0.1 that serves one tunnel.

    Args:
        connect: Makes a connection to the port in the VM; raises `SandboxError`.
        token: What requests have to bring as ``Authorization: Bearer``; None lets everyone in.
    """

    def __init__(self, connect: Connect, *, token: str | None) -> None:
        self._connect = connect
        self._token = token
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.AbstractServer | None = None
        self._closed = False
        # Made at once: the address is known from the start, and who connects early waits in the backlog.
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._sock.getsockname()[1]}"

    async def start(self) -> None:
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.StreamReaderProtocol:
            return asyncio.StreamReaderProtocol(_Reader(), self._accept, loop=loop)

        if not self._closed:
            # In two steps, of which the first does not wait: `close` always finds the server that reads the socket.
            # Else the loop would go on believing in a descriptor whose number is then another's.
            self._server = await loop.create_server(protocol, sock=self._sock, start_serving=False)
            await self._server.start_serving()

    def close(self) -> None:
        """Stop listening and cut every connection."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        self._sock.close()
        for task in self._connections:
            task.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, _Reader)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        if self._closed:
            task.cancel()

    async def _serve(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
            writer.close()
            await writer.wait_closed()
        except (_Cut, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()  # after an orderly close it does nothing

    async def _exchange(self, reader: _Reader, writer: asyncio.StreamWriter) -> bool:
        """One request and its response; whether the connection can carry another."""
        try:
            head = await _read_request(reader)
            if head is None:
                return False
            self._check_token(head)
            try:
                inside = await self._connect()
            except SandboxError as error:
                raise _Refusal(502, "unavailable", f"the tunnel does not reach the VM's port: {error}") from None
            return await self._forward(head, inside, reader, writer)
        except _Refusal as refusal:
            await _refuse(reader, writer, refusal)
            return False

    def _check_token(self, head: RequestHead) -> None:
        if self._token is None:
            return
        given = head.all("authorization")
        scheme, _, credentials = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        matches = hmac.compare_digest(credentials.strip().encode(), self._token.encode())
        if scheme.lower() != "bearer" or not matches:
            raise _Refusal(401, "unauthorized", "this tunnel needs Authorization: Bearer and the tunnel's auth_token")

    async def _forward(
        self, head: RequestHead, inside: socket.socket, reader: _Reader, writer: asyncio.StreamWriter
    ) -> bool:
        try:
            inside_reader, inside_writer = await asyncio.open_connection(sock=inside, limit=MAX_HEAD)
        except BaseException:
            inside.close()
            raise
        try:
            exchange = _Exchange(head, reader, writer, inside_reader, inside_writer)
            return await exchange.carry_out(
                secret=frozenset() if self._token is None else frozenset(("authorization",))
            )
        finally:
            inside_writer.transport.abort()


class _Exchange:
    """A request on its way in and its response on its way out, both at the same time."""

    def __init__(
        self,
        head: RequestHead,
        reader: _Reader,
        writer: asyncio.StreamWriter,
        inside_reader: asyncio.StreamReader,
        inside_writer: asyncio.StreamWriter,
    ) -> None:
        self._head = head
        self._reader = reader
        self._writer = writer
        self._inside_reader = inside_reader
        self._inside_writer = inside_writer
        self._sent = False
        """Whether the request has gone in as a whole."""
        self._begun = False
        """Whether anything of the response has gone out."""

    async def carry_out(self, *, secret: frozenset[str]) -> bool:
        """Whether the client's connection can carry another request afterwards; ``secret`` fields stay outside."""
        sending = asyncio.ensure_future(self._send(secret))
        answering = asyncio.ensure_future(self._answer(sending))
        tasks = (sending, answering, asyncio.ensure_future(self._watch(sending)))
        try:
            await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                await tasks[2]
            return await answering and self._sent
        except _Refusal as refusal:
            if self._begun:
                raise _Cut from refusal
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, secret: frozenset[str]) -> None:
        head, inside = self._head, self._inside_writer
        connection = _SWITCH if head.upgrade else _CLOSE
        host = () if head.all("host") else (("Host", "127.0.0.1"),)  # HTTP/1.0 need not have one, 1.1 must
        start = f"{head.method} {head.target} HTTP/1.1"
        inside.write(write_head(start, host, head.end_to_end(without=secret), head.framing.fields, connection))
        try:
            await _copy_body(head.framing, self._reader, inside, chunked=head.framing.chunked)
        except HeadError as error:
            raise _Refusal(400, "bad_request", f"the request's body is malformed: {error}") from None
        self._sent = True

    async def _watch(self, sending: asyncio.Future[None]) -> None:
        """Fails when the exchange has come to nothing on the client's side; never returns."""
        try:
            await asyncio.shield(sending)
        except ConnectionError:
            if self._reader.over.is_set():
                raise _Cut from None
            # What listens inside has stopped reading; its answer may say why.
        except asyncio.IncompleteReadError:
            raise _Cut from None
        if self._head.upgrade:
            await asyncio.Event().wait()
        await self._reader.over.wait()
        # Some clients end their half of the connection with their last request, and still want the answer.
        await asyncio.sleep(_LINGER)
        raise _Cut

    async def _answer(self, sending: asyncio.Future[None]) -> bool:
        head, inside, writer = self._head, self._inside_reader, self._writer
        response = await self._final_response()
        start = f"HTTP/1.1 {response.status} {response.reason}"
        self._begun = True
        if response.status == 101:
            writer.write(write_head(start, response.end_to_end(), _SWITCH))
            await asyncio.shield(sending)
            await asyncio.gather(_copy_all(inside, writer), _copy_all(self._reader, self._inside_writer))
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
                    await _copy_all(inside, writer, chunked=chunked)
                else:
                    await _copy_body(framing, inside, writer, chunked=chunked)
            except (HeadError, ConnectionError, asyncio.IncompleteReadError) as error:
                raise _Cut from error
        await writer.drain()
        return keep

    async def _final_response(self) -> ResponseHead:
        """The response's head; interim ones (100 Continue) are passed on as they come."""
        while True:
            try:
                response = parse_response(await self._inside_reader.readuntil(b"\r\n\r\n"))
            except (HeadError, asyncio.LimitOverrunError, asyncio.IncompleteReadError, ConnectionError) as error:
                raise _Refusal(502, "unavailable", "what listens on the port did not answer in HTTP/1.1") from error
            if response.status == 101 and not self._head.upgrade:
                raise _Refusal(502, "unavailable", "what listens on the port changed to another protocol unasked")
            if not response.interim:
                return response
            if self._head.minor == 1:
                start = f"HTTP/1.1 {response.status} {response.reason}"
                self._writer.write(write_head(start, response.end_to_end()))
                await self._writer.drain()


async def _read_request(reader: _Reader) -> RequestHead | None:
    """The next request; None when the client has closed the connection instead."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
        return parse_request(raw)
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise _Refusal(400, "bad_request", "the request ends amid its head") from None
        return None
    except asyncio.LimitOverrunError:
        raise _Refusal(431, "bad_request", f"the request's head has more than {MAX_HEAD} bytes") from None
    except HeadError as error:
        raise _Refusal(400, "bad_request", str(error)) from None


async def _refuse(reader: _Reader, writer: asyncio.StreamWriter, refusal: _Refusal) -> None:
    body = json.dumps({"code": refusal.code, "message": str(refusal)}).encode()
    fields = (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *_CLOSE)
    challenge = (("WWW-Authenticate", "Bearer"),) if refusal.status == 401 else ()
    writer.write(write_head(f"HTTP/1.1 {refusal.status} {_REASONS[refusal.status]}", fields, challenge) + body)
    with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
        await writer.drain()
        writer.write_eof()
        # Data that nobody reads would turn the close into a reset, which can take the answer with it.
        await asyncio.wait_for(_discard(reader), 1.0)


async def _discard(reader: _Reader) -> None:
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


async def _copy_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, chunked: bool = False) -> None:
    """Copy up to the end, and pass the end on."""
    while piece := await reader.read(_PIECE):
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
    if chunked:
        writer.write(b"0\r\n\r\n")
        await writer.drain()
    elif writer.can_write_eof():
        writer.write_eof()


__all__ = ["TunnelProxy"]
