"""The end of a terminal while input is on its way."""

from __future__ import annotations

import asyncio
import gc
from typing import Final

import aiohttp
import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from arker import ConfigurationError
from arker._transport.http.sockets import Socket, open_socket
from tests.test_held_terminals import reached

pytestmark = pytest.mark.anyio

_SOON: Final = 40.0
"""Seconds; less than the minute after which the system gives up a connection that the other side takes nothing from."""


@pytest.mark.parametrize("ends", ["close", "cancel"])
async def test_closing_does_not_wait_for_a_server_that_takes_no_input(ends: str) -> None:
    over = asyncio.Event()

    async def take_nothing(socket: web.WebSocketResponse) -> None:
        await over.wait()

    async with reached() as (made, vm):
        made.play = take_nothing
        terminal = await vm.terminal(session_id="s-9").open()
        await terminal.write("small")
        writing = asyncio.ensure_future(terminal.write(b"x" * 50_000_000))
        with anyio.move_on_after(0.2):  # most of it has no place on the way
            await asyncio.shield(writing)
        assert not writing.done()
        with anyio.fail_after(_SOON):
            if ends == "cancel":
                writing.cancel()
            await terminal.close()
            if ends == "close":
                with pytest.raises(ConfigurationError, match="the terminal was closed"):
                    await writing
            assert made.transport is not None
            over.set()
            while not made.transport.is_closing():
                await asyncio.sleep(0.01)


async def test_what_was_written_before_the_end_arrives() -> None:
    closing = asyncio.Event()
    received = bytearray()

    async def take_late(socket: web.WebSocketResponse) -> None:
        await closing.wait()
        async for message in socket:
            received.extend(message.data)

    async with reached() as (made, vm):
        made.play = take_late
        async with vm.terminal(session_id="s-9") as terminal:
            for number in range(20):
                await terminal.write(bytes([number]) * 10_000)
            closing.set()
    assert bytes(received) == b"".join(bytes([number]) * 10_000 for number in range(20))


async def write(socket: Socket) -> None:
    for _ in range(800):
        await socket.send(b"x" * 60_000)


async def test_a_connection_that_is_lost_while_it_is_closed_is_let_go() -> None:
    losing = asyncio.Event()

    async def lose(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await losing.wait()
        assert request.transport is not None
        request.transport.abort()
        return socket

    app = web.Application()
    app.router.add_get("/", lose)
    reports: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context["message"]))
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        socket = await open_socket(session, URL(server.make_url("/")), {}, proxy=None)
        writing = asyncio.ensure_future(write(socket))
        with anyio.move_on_after(0.2):  # most of it has no place on the way
            await asyncio.shield(writing)
        assert not writing.done()
        closing = asyncio.ensure_future(socket.close())
        await asyncio.sleep(0.1)  # it waits until that is sent
        losing.set()
        await closing
        await asyncio.gather(writing, return_exceptions=True)
        del socket, writing, closing
        gc.collect()
    assert reports == []
