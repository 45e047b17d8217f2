"""A relay of TCP connections that can cut them: a network that fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.support.server import close_listener


class Relay:
    """A listener on the loopback, whose connections lead on to a server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = parts.hostname or "", parts.port or 80
        self._path = parts.path
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.refusing = False
        """Whether new connections are closed at once."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self._path}"

    def cut(self) -> int:
        """Cut all connections, in both directions. Returns how many there were."""
        count = len(self._writers)
        for writer in self._writers:
            writer.transport.abort()
        return count

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not self.refusing:
                await self._relay(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection(*self._target)
        self._writers |= {writer, back}
        try:
            await asyncio.gather(_pass_on(reader, back), _pass_on(onward, writer))
        finally:
            back.transport.abort()
            self._writers -= {writer, back}

    async def close(self) -> None:
        self.refusing = True
        self.cut()
        while self._tasks:
            await asyncio.wait(set(self._tasks))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # also that of ending what the other side has reset: ENOTCONN
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    writer.close()


@asynccontextmanager
async def relay(url: str) -> AsyncGenerator[Relay, None]:
    """Relay connections to the server at this URL."""
    made = Relay(url)
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        await close_listener(server)
        await made.close()
        await server.wait_closed()


__all__ = ["Relay", "relay"]
