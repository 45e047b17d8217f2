"""A connection to the server, byte by byte: what exactly comes back, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

from attrs import frozen

from tests.support.waiting import PATIENCE

End: TypeAlias = Literal["fin", "reset"]


class Reached(Protocol):
    """The facts about a server that a connection needs."""

    @property
    def url(self) -> str: ...

    @property
    def api_key(self) -> str: ...


@frozen
class Received:
    """A reply, and what it says of itself."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection."""

    def __init__(self, emulator: Reached, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._key = emulator.api_key
        self._root = urlsplit(emulator.url).path
        self._reader = reader
        self._writer = writer

    async def send(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> None:
        """Send a request to an operation."""
        data = b"" if body is None else json.dumps(body).encode()
        extra = {} if key is None else {"Idempotency-Key": key}
        await self.send_raw(method, self._root + path, data, {"Authorization": f"Bearer {self._key}", **extra})

    async def send_raw(
        self,
        method: str,
        path: str,
        data: bytes = b"",
        headers: Mapping[str, str] | None = None,
        size: int | None = None,
    ) -> None:
        """Send a request. Its body may be shorter than it says."""
        fields = {"Host": "127.0.0.1", "Content-Length": str(len(data) if size is None else size), **(headers or {})}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        self._writer.write("\r\n".join(lines).encode() + data)
        await self._writer.drain()

    async def head(self) -> Received:
        """Read the status line and the headers of a reply, and leave its body unread."""
        head = (await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), PATIENCE)).decode("latin-1")
        status, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Received(int(status.split()[1]), headers, b"")

    async def reply(self) -> Received:
        """Read a whole reply."""
        head = await self.head()
        body = await asyncio.wait_for(self._reader.readexactly(int(head.headers["content-length"])), PATIENCE)
        return Received(head.status, head.headers, body)

    async def some(self) -> bytes:
        """Read what comes next; nothing at the end."""
        return await asyncio.wait_for(self._reader.read(65536), PATIENCE)

    async def end(self) -> tuple[bytes, End]:
        """Return everything up to the connection's end, and how it ended."""
        data = b""
        try:
            while piece := await self.some():
                data += piece
        except ConnectionResetError:
            return data, "reset"
        return data, "fin"

    async def silent(self, seconds: float) -> bool:
        """Return whether nothing arrives for a while, not even the end."""
        try:
            await asyncio.wait_for(self._reader.read(1), seconds)
        except asyncio.TimeoutError:
            return True
        return False


@asynccontextmanager
async def connected(emulator: Reached) -> AsyncGenerator[Wire]:
    """Open a connection to the server. It is closed at the end."""
    parts = urlsplit(emulator.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**20)
    try:
        yield Wire(emulator, reader, writer)
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass


__all__ = ["End", "Received", "Wire", "connected"]
