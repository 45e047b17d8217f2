"""A connection that speaks HTTP/1.1, parsed and framed by h11, of the extra ``emulator``.

This is the one file that imports h11, and it is imported when the first client of a proxy has connected: VMs that
open no tunnel and do not go out need neither the time nor the library.
"""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Final, TypeAlias, cast

import h11

from arker.emulator.server.proxy.http_heads import (
    MAX_HEAD,
    Fields,
    HeadTooLargeError,
    MessageError,
    RequestHead,
    ResponseHead,
    check_chunk_line,
    check_lengths,
    check_lines,
)

_PIECE: Final = 64 * 1024
_QUOTED = re.compile(r": (?:bytearray\(|b['\"]).*", re.DOTALL)

_Received: TypeAlias = (
    "h11.Request | h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage | h11.ConnectionClosed"
)


class Wire:
    """One end of a connection: messages in and messages out, one exchange after the other.

    What h11 reads is also looked at line by line, since it reads more than has one meaning (`http_heads`).

    Args:
        reader: What comes in.
        writer: What goes out.
        serving: Whether the other side is a client; else it is a server.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, serving: bool) -> None:
        connection = writer.get_extra_info("socket")
        if connection.family in {socket.AF_INET, socket.AF_INET6}:
            # asyncio does so only for sockets that name their protocol. Else a small body waits for its head's receipt.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.SERVER if serving else h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._raw = bytearray()
        """Received bytes that have not been checked yet, where those are lines: heads, and bodies in chunks."""
        self._in_lines = True
        self._footer = 0
        """The number of bytes in `_raw` that are the line end of the previous chunk."""
        self._amid_chunk = False
        self._ended = False

    # --- in ---

    async def read_request(self) -> RequestHead | None:
        """Read the next request's head; None when there is none. Raises `MessageError` and `IncompleteReadError`."""
        event = await self._receive()
        if not isinstance(event, h11.Request):
            return None
        return RequestHead(
            method=event.method.decode("latin-1"),
            target=event.target.decode("latin-1"),
            minor=_minor(event),
            fields=_decoded(event),
        )

    async def read_response(self) -> ResponseHead:
        """Read the next response's head (maybe an interim one). Raises `MessageError` and `IncompleteReadError`."""
        event = await self._receive()
        assert isinstance(event, h11.Response | h11.InformationalResponse)
        return ResponseHead(
            status=event.status_code,
            reason=event.reason.decode("latin-1"),
            minor=_minor(event),
            fields=_decoded(event),
        )

    async def read_body(self) -> bytes | None:
        """Read the next piece of the body; None at its end. Raises `MessageError` and `IncompleteReadError`."""
        event = await self._receive()
        return event.data if isinstance(event, h11.Data) else None

    async def read_bare(self) -> bytes:
        """Read the next bytes after a change of protocol; none at the end."""
        if self._raw:
            early, self._raw = bytes(self._raw), bytearray()
            return early
        return await self._reader.read(_PIECE)

    async def _receive(self) -> _Received:
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                if self._ended:
                    raise asyncio.IncompleteReadError(b"", None) from None
                if error.error_status_hint == 431:
                    raise HeadTooLargeError(f"the head has more than {MAX_HEAD} bytes") from None
                # h11 quotes refused input, which may contain a secret.
                raise MessageError(_QUOTED.sub("", str(error))) from None
            if isinstance(event, type):  # NEED_DATA; PAUSED is impossible, since nothing is read beyond a message's end
                assert event is h11.NEED_DATA
                await self._feed()
                continue
            received = cast(_Received, event)
            self._look_at(received)
            return received

    async def _feed(self) -> None:
        piece = await self._reader.read(_PIECE)
        self._ended = not piece
        self._h11.receive_data(piece)
        if self._in_lines:
            self._raw += piece

    def _look_at(self, event: _Received) -> None:
        """Refuse the bytes of an h11 event if they have more than one meaning."""
        if isinstance(event, h11.Data):
            if self._in_lines:
                self._look_at_chunk(event)
            return
        if isinstance(event, h11.ConnectionClosed):
            return
        left, _ = self._h11.trailing_data
        lines = bytes(self._raw[self._footer : len(self._raw) - len(left)]) if self._in_lines else b""
        self._footer, self._amid_chunk = 0, False
        self._in_lines = (
            isinstance(event, h11.EndOfMessage | h11.InformationalResponse)
            or self._h11.their_state is h11.SWITCHED_PROTOCOL
            or any(name == b"transfer-encoding" for name, _ in event.headers)
        )
        self._raw = bytearray(left if self._in_lines else b"")
        if isinstance(event, h11.EndOfMessage):
            if lines:
                check_lines(lines)
                check_chunk_line(lines[: lines.index(b"\n") + 1])
            return
        check_lines(lines)
        check_lengths(lines)

    def _look_at_chunk(self, event: h11.Data) -> None:
        end = 0
        if not self._amid_chunk:
            end = self._raw.index(b"\r\n", self._footer) + 2
            check_chunk_line(bytes(self._raw[self._footer : end]))
        del self._raw[: end + len(event.data)]
        # h11 reads the line end of a chunk together with the line that follows.
        self._amid_chunk, self._footer = not event.chunk_end, 2 if event.chunk_end else 0

    # --- out ---

    def write_request(self, method: str, target: str, fields: Fields) -> None:
        self._write(h11.Request(method=method, target=target.encode("latin-1"), headers=_encoded(fields)))

    def write_response(self, status: int, reason: str, fields: Fields) -> None:
        """Write a head. h11 adds the fields for the body's length and the connection's end."""
        kind = h11.InformationalResponse if status < 200 else h11.Response
        self._write(kind(status_code=status, reason=reason.encode("latin-1"), headers=_encoded(fields)))

    def write_body(self, piece: bytes) -> None:
        self._write(h11.Data(data=piece))

    def write_end(self) -> None:
        self._write(h11.EndOfMessage())

    def write_bare(self, piece: bytes) -> None:
        """Write bytes after a change of protocol."""
        self._writer.write(piece)

    def write_bare_end(self) -> None:
        if self._writer.can_write_eof():
            self._writer.write_eof()

    async def drain(self) -> None:
        await self._writer.drain()

    def _write(self, event: h11.Event) -> None:
        # Not by `writelines`: with some releases of Python 3.12 and 3.13 `drain` does not wait for it (CVE-2024-12254).
        # And not piece by piece: simple servers expect a head in one piece.
        self._writer.write(self._h11.send(event) or b"")

    # --- what follows ---

    def begin_next(self) -> bool:
        """Begin the next exchange if the connection can carry one. Returns whether it can."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True

    def cut(self) -> None:
        self._writer.transport.abort()


def _minor(event: h11.Request | h11.Response | h11.InformationalResponse) -> int:
    if event.http_version not in {b"1.0", b"1.1"}:
        raise MessageError("expected HTTP/1.1 or HTTP/1.0")
    return int(event.http_version[2:])


def _decoded(event: h11.Request | h11.Response | h11.InformationalResponse) -> Fields:
    return tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers.raw_items()])


def _encoded(fields: Fields) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]


__all__ = ["Wire"]
