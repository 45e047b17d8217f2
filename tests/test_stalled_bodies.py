"""A server that stops reading: the time without progress is bounded while a body is on its way."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
from collections.abc import AsyncIterator

import aiohttp
import pytest

from arker import (
    CHUNK_SIZE,
    AsyncArker,
    HttpTimeouts,
    NetworkTimeoutError,
)
from arker._protocol.request import ExchangeFailedError
from arker._transport.http.exchanges import Http
from arker._transport.http.pieces import Slices
from arker.config import load_settings
from tests.support.clients import make_client
from tests.support.samples import completed
from tests.support.secrets import API_KEY
from tests.support.server import Recorded, Reply, ScriptedServer, ok
from tests.support.waiting import PATIENCE, put_forward, some_turns, until
from tests.transfers.support import Store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def deaf() -> AsyncIterator[str]:
    """Return the URL of a server that accepts connections and reads almost nothing."""
    over = asyncio.Event()

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    listening = socket.socket()
    # Small buffers, so that a few megabytes do not disappear in them.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listening.bind(("127.0.0.1", 0))
    server = await asyncio.start_server(ignore, sock=listening, limit=1024)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    over.set()
    server.close()
    await server.wait_closed()


async def test_a_large_request_that_is_not_taken_ends(deaf: str) -> None:
    timeouts = HttpTimeouts(idle=0.2)
    async with AsyncArker(API_KEY, base_url=deaf, retry=False, timeout=timeouts) as client:
        with pytest.raises(NetworkTimeoutError) as caught:
            await client.vm("v").sync("f", bytes(CHUNK_SIZE))
    assert "no progress for 0.2 s" in caught.value.message
    assert caught.value.outcome == "unknown"


async def test_a_large_command_that_is_not_taken_ends(deaf: str) -> None:
    """A run's reply may take any time, but its request may not."""
    timeouts = HttpTimeouts(idle=0.2)
    async with AsyncArker(API_KEY, base_url=deaf, retry=False, timeout=timeouts) as client:
        with pytest.raises(NetworkTimeoutError):
            await client.vm("v").run("x" * CHUNK_SIZE * 2)


async def test_an_upload_that_is_not_taken_ends(deaf: str) -> None:
    http = Http(load_settings(API_KEY, base_url=deaf, timeout=HttpTimeouts(idle=0.2)))
    data = bytes(CHUNK_SIZE * 2)
    with pytest.raises(ExchangeFailedError) as caught:
        await http.put(f"{deaf}/object", lambda: Slices(data), len(data), base_url=deaf)
    assert caught.value.timed_out
    await http.aclose()


class _Slow(io.BytesIO):
    """A file whose second MiB is read only when it is let go."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reading = threading.Event()
        self.free = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= 1024 * 1024:
            self.reading.set()
            assert self.free.wait(PATIENCE)
        return super().read(size)


async def test_a_slow_file_is_no_stall(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(server)
    data = bytes(3 * 1024 * 1024)
    file = _Slow(data)
    async with make_client(server, retry=False, timeout=HttpTimeouts(idle=50)) as client:
        uploading = asyncio.create_task(client.vm("vm-1").upload(file, "/f", strategy="put"))
        try:
            await until(file.reading.is_set)
            await some_turns()
            await put_forward(monkeypatch, 55)
            assert not uploading.done()
        finally:
            file.free.set()
        await uploading
    assert store.files["/f"] == data


async def test_an_upload_of_a_slow_file_that_is_cancelled_does_not_stop_the_loop(server: ScriptedServer) -> None:
    Store(server)
    file = _Slow(bytes(3 * 1024 * 1024))
    async with make_client(server) as client:
        uploading = asyncio.create_task(client.vm("vm-1").upload(file, "/f", strategy="put"))
        try:
            await until(file.reading.is_set)
            uploading.cancel()
            await some_turns()
            assert not uploading.done()  # the caller's file is still in use
        finally:
            file.free.set()
        await asyncio.wait({uploading})
        assert uploading.cancelled()


async def test_a_large_request_through_a_tunnel_that_is_not_taken_ends(deaf: str, server: ScriptedServer) -> None:
    server.script(ok({"vm_id": "v", "port": 80, "state": "open", "url": deaf, "tunnel_key": "tk"}))
    async with make_client(server, retry=False, timeout=HttpTimeouts(idle=0.2)) as client:
        tunnel = await client.vm("v").tunnel(80).open()
        with pytest.raises(NetworkTimeoutError, match=r"no progress for 0\.2 s"):
            await tunnel.request("POST", body=bytes(CHUNK_SIZE * 2))


async def test_waiting_for_a_connection_is_no_stall(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    async def answer(request: Recorded) -> Reply:
        if request.path.endswith("/runs"):
            await until(over.is_set)
            return ok(completed())
        result = {"path": "f", "size": 1, "complete": True, "written": True}
        return ok({"results": [result]})

    server.answer(answer)
    timeouts = HttpTimeouts(idle=50, silence=None)
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))
    async with session, make_client(server, session=session, retry=False, timeout=timeouts) as client:
        limiter = client._transport.limiter  # pyright: ignore[reportPrivateUsage]
        run = asyncio.create_task(client.vm("v").run("sleep"))
        await until(lambda: len(server.requests) == 1)
        writing = asyncio.create_task(client.vm("v").sync("f", bytes(3 * 1024 * 1024)))
        await until(lambda: limiter.in_flight == 2)
        await some_turns()
        await put_forward(monkeypatch, 55)
        assert not writing.done()
        over.set()
        await writing
        assert (await run).exit_code == 0
    assert server.connections == 1
