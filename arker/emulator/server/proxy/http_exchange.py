"""HTTP/1.1 exchanges that are forwarded: one request in, a separate connection to the far end, one response out.

This is the common part of tunnels and of the VMs' way out. Requests are parsed one by one and written again
(`http_wire`), so that nothing which a client sends can be taken for another request than the one that was checked.
What streams through is never held: each direction moves a piece on only when the other side has taken the one before.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from attrs import define, frozen

from arker.emulator.server.errors import ServiceError, require_http
from arker.emulator.server.proxy.http_heads import (
    MAX_HEAD,
    Fields,
    HeadTooLargeError,
    MessageError,
    RequestHead,
    ResponseHead,
)

if TYPE_CHECKING:
    from arker.emulator.server.proxy.http_wire import Wire

_PIECE: Final = 64 * 1024
_LINGER: Final = 5.0  # seconds for an answer to a client that has sent its end, or that has not sent everything
_HALF_OPEN: Final = 300.0  # seconds without a byte after one half of a connection has ended
_CLOSE: Final[Fields] = (("Connection", "close"),)
_SWITCH: Final[Fields] = (("Connection", "Upgrade"), ("Upgrade", "websocket"))
_REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden by Network Policy",
    431: "Request Header Fields Too Large",
    501: "Not Installed: arker-async[emulator]",  # clients that speak TLS show no more than this
    502: "Bad Gateway",
    504: "Gateway Timeout",
}


class Refusal(Exception):
    """An answer of the proxy itself to a client's request. It ends the connection, since a body may be in progress.

    Attributes:
        status: 400, 401, 403, 431, 501, 502 or 504.
        code: The error code of the body.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Cut(Exception):
    """A message that breaks off. The receiver must notice, so its connection is cut."""


class ClientReader(asyncio.StreamReader):
    """A reader that tells when the other side has disconnected, even while no data is being read."""

    def __init__(self) -> None:
        super().__init__(limit=MAX_HEAD)
        self.over = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.over.set()

    def set_exception(self, exc: Exception) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().set_exception(exc)
        self.over.set()


class FarReader(asyncio.StreamReader):
    """A reader of what the far end has sent, also when it has ended the connection amid the request.

    A server may answer before it has read the request's body. Then sending fails, and asyncio would drop the answer.
    """

    def __init__(self, connection: socket.socket, *, plain: bool) -> None:
        """Make a reader.

        Args:
            connection: The connection.
            plain: Whether what comes over it is what is read.
        """
        super().__init__(limit=MAX_HEAD)
        self._connection = connection if plain else None
        self._over = False
        self._failure: Exception | None = None

    def feed_eof(self) -> None:
        self._over = True
        super().feed_eof()

    def set_exception(self, exc: Exception) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if self._over:
            return
        if self._connection is not None:  # it is closed only after this
            with contextlib.suppress(OSError):
                while piece := self._connection.recv(_PIECE):
                    self.feed_data(piece)
        # Its end came first, if the system says that the pipe was broken, and not that the connection was reset.
        self._failure = None if isinstance(exc, BrokenPipeError) else exc
        self.feed_eof()

    async def read(self, n: int = -1) -> bytes:
        """Read what there is; the connection's failure comes after everything that has arrived."""
        data = await super().read(n)
        if not data and self._failure is not None:
            raise self._failure
        return data


@frozen
class Client:
    """A connection from a client.

    Attributes:
        wire: What passes over it.
        over: Set when the other side has gone.
    """

    wire: Wire
    over: asyncio.Event


@frozen
class Far:
    """A connection to the far end, and its name in messages."""

    name: str
    wire: Wire

    @classmethod
    async def over(cls, name: str, connection: socket.socket, *, tls_name: str | None = None) -> Far:
        """Open over a connected socket, which it owns from now on. Uses TLS if a server name is given."""
        from arker.emulator.server.proxy.http_wire import Wire

        context = None if tls_name is None else ssl.create_default_context()
        loop = asyncio.get_running_loop()
        reader = FarReader(connection, plain=tls_name is None)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            transport, _ = await loop.create_connection(
                lambda: protocol, sock=connection, ssl=context, server_hostname=tls_name
            )
        except BaseException:
            connection.close()
            raise
        return cls(name, Wire(reader, asyncio.StreamWriter(transport, protocol, reader, loop), serving=False))

    def cut(self) -> None:
        self.wire.cut()


class Exchange:
    """A request on its way to the far end and its response on its way back, both at the same time.

    Args:
        head: The request.
        client: Where its body comes from, and the response goes to.
        far: The far end, which answers. The caller ends this connection.
        target: What the request line asks for there.
        fields: The header fields to send there, without those of the connection and the body's length.
    """

    def __init__(self, head: RequestHead, client: Client, far: Far, *, target: str, fields: Fields) -> None:
        self._head = head
        self._client = client
        self._far = far
        self._target = target
        self._fields = fields
        self._sent = False
        """Whether the whole request has been forwarded."""
        self._begun = False
        """Whether any part of the response has been sent."""

    async def carry_out(self) -> bool:
        """Carry out the exchange and return whether the client's connection can carry another. Raises `Refusal` and
        `Cut`.
        """
        sending = asyncio.ensure_future(self._send())
        answering = asyncio.ensure_future(self._answer(sending))
        tasks = (sending, answering, asyncio.ensure_future(self._watch(sending)))
        try:
            await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                await tasks[2]
            return await answering and self._client.wire.begin_next()
        except Refusal as refusal:
            if self._begun:
                raise Cut from refusal
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self) -> None:
        head, wire = self._head, self._far.wire
        connection = _SWITCH if head.upgrade else _CLOSE
        wire.write_request(head.method, self._target, (*self._fields, *head.framing, *connection))
        try:
            await _pass_body(self._client.wire, wire)
        except MessageError as error:
            raise Refusal(400, "bad_request", f"the request's body is malformed: {error}") from None
        self._sent = True

    async def _watch(self, sending: asyncio.Future[None]) -> None:
        """Fail when the exchange has become pointless on the client's side. It never returns."""
        try:
            await asyncio.shield(sending)
        except OSError:
            if self._client.over.is_set():
                raise Cut from None
            # The far end has stopped reading; its answer may say why.
        except asyncio.IncompleteReadError:
            raise Cut from None
        if self._head.upgrade:
            await asyncio.Event().wait()
        await self._client.over.wait()
        # Some clients end their half of the connection with their last request, and still want the answer.
        await asyncio.sleep(_LINGER)
        raise Cut

    async def _answer(self, sending: asyncio.Future[None]) -> bool:
        """Send the answer to the client and return whether its connection may carry another request."""
        response, wire = await self._final_response(), self._client.wire
        self._begun = True
        fields = response.end_to_end()
        if response.status == 101:
            wire.write_response(101, response.reason, (*fields, *_SWITCH))
            await asyncio.shield(sending)
            await splice(self._client, self._far)
            return False
        # A body up to the end of the connection becomes chunks, so that the client's connection can go on.
        length = tuple([field for field in response.framing if field[0].lower() == "content-length"])
        length = () if response.status == 204 else length
        wire.write_response(response.status, response.reason, (*fields, *length, *(() if self._sent else _CLOSE)))
        try:
            await _pass_body(self._far.wire, wire)
        except (MessageError, OSError, asyncio.IncompleteReadError) as error:
            raise Cut from error
        return True

    async def _final_response(self) -> ResponseHead:
        """Return the response's head. Interim ones (100 Continue) are forwarded as they arrive."""
        while True:
            try:
                response = await self._far.wire.read_response()
            except (MessageError, asyncio.IncompleteReadError, OSError) as error:
                raise Refusal(502, "unavailable", f"{self._far.name} did not answer in HTTP/1.1") from error
            if not response.interim:
                return response
            if self._head.minor == 1:
                self._client.wire.write_response(response.status, response.reason, response.end_to_end())
                await self._client.wire.drain()


async def splice(client: Client, far: Far) -> None:
    """Forward everything in both directions until both have ended. Either may end before the other."""
    meter = _Meter()
    ways = [
        asyncio.ensure_future(_pass_bare(far.wire, client.wire, meter)),
        asyncio.ensure_future(_pass_bare(client.wire, far.wire, meter)),
    ]
    pending = set(ways)
    try:
        while pending:
            before = meter.pieces
            # A peer that has closed one half and one that has gone look alike until something is sent to them.
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
    check: Callable[[RequestHead], None],
    exchange: Callable[[Client, RequestHead], Awaitable[bool]],
) -> None:
    """Serve a client's connection until its end.

    Args:
        reader: From the client.
        writer: To the client.
        check: Refuses requests of other kinds; raises `MessageError`.
        exchange: Answers a request; whether the connection can carry another; raises `Refusal` and `Cut`.
    """
    try:
        try:
            client = Client(_wire(reader, writer), reader.over)
            while (head := await _read_request(client, check)) is not None:
                if not await exchange(client, head):
                    await _take_leave(reader, writer)
                    break
        except Refusal as refusal:
            await _refuse(reader, writer, refusal)
        writer.close()
        await writer.wait_closed()
    except (Cut, OSError, asyncio.IncompleteReadError):  # also errors of networks outside this machine
        pass
    finally:
        writer.transport.abort()  # after an orderly close it does nothing


def _wire(reader: ClientReader, writer: asyncio.StreamWriter) -> Wire:
    try:
        require_http("the way out of VMs")
    except ServiceError as error:
        raise Refusal(501, error.code, error.message) from None
    from arker.emulator.server.proxy.http_wire import Wire

    return Wire(reader, writer, serving=True)


async def _read_request(client: Client, check: Callable[[RequestHead], None]) -> RequestHead | None:
    """Read the next request; None when the client has closed the connection instead."""
    try:
        head = await client.wire.read_request()
        if head is not None:
            check(head)
        return head
    except asyncio.IncompleteReadError:
        raise Refusal(400, "bad_request", "the request ends amid its head") from None
    except HeadTooLargeError as error:
        raise Refusal(431, "bad_request", f"the request is too large: {error}") from None
    except MessageError as error:
        raise Refusal(400, "bad_request", f"the request is malformed: {error}") from None


async def _refuse(reader: ClientReader, writer: asyncio.StreamWriter, refusal: Refusal) -> None:
    """Send a refusal in bytes made here: h11 may be missing, or no longer know the exchange's state."""
    body = json.dumps({"code": refusal.code, "message": str(refusal)}).encode()
    challenge = "WWW-Authenticate: Bearer\r\n" if refusal.status == 401 else ""
    head = (
        f"HTTP/1.1 {refusal.status} {_REASONS[refusal.status]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n{challenge}\r\n"
    )
    writer.write(head.encode() + body)
    await _take_leave(reader, writer)


async def _take_leave(reader: ClientReader, writer: asyncio.StreamWriter) -> None:
    """End the sending to a client that may not have sent everything, so that it gets the answer."""
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        await writer.drain()
        writer.write_eof()
        # Unread data would turn the close into a reset, which can discard the answer.
        await asyncio.wait_for(_discard(reader), _LINGER)


async def _discard(reader: ClientReader) -> None:
    while await asyncio.wait_for(reader.read(_PIECE), 1.0):
        pass


async def _pass_body(source: Wire, sink: Wire) -> None:
    """Forward one body with its end, but without its trailers: the response can no longer announce them."""
    while (piece := await source.read_body()) is not None:
        sink.write_body(piece)
        await sink.drain()
    sink.write_end()
    await sink.drain()


@define
class _Meter:
    pieces: int = 0


async def _pass_bare(source: Wire, sink: Wire, meter: _Meter) -> None:
    """Forward bytes up to and including their end."""
    while piece := await source.read_bare():
        sink.write_bare(piece)
        await sink.drain()
        meter.pieces += 1
    sink.write_bare_end()


__all__ = ["Client", "ClientReader", "Cut", "Exchange", "Far", "Refusal", "serve", "splice"]
