"""Killing the program of a terminal whose connection is lost meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import anyio
import pytest
from aiohttp import web

from arker import Replayed, TerminalClosedError
from arker._terminals.incoming import ROOM
from tests.test_held_terminals import Service, reached

pytestmark = pytest.mark.anyio

_SOON: Final = 60.0
_KILL: Final = '{"type":"kill"}'


async def test_a_kill_that_is_lost_with_its_connection_is_sent_again() -> None:
    told: list[list[object]] = []

    async with reached() as (made, vm):

        async def lose_the_first(socket: web.WebSocketResponse) -> None:
            told.append([])
            async for message in socket:
                told[-1].append(message.data)
                if message.data == _KILL and len(told) == 1:
                    assert made.transport is not None
                    made.transport.abort()
                elif message.data == _KILL:
                    await socket.close(code=1000, message=b"killed")

        made.play = lose_the_first
        async with vm.terminal(session_id="s-9") as terminal:
            with anyio.fail_after(_SOON):
                await terminal.kill()
                assert await terminal.wait() is None
    assert told == [[_KILL], [_KILL]]


async def flood_and_lose(made: Service, socket: web.WebSocketResponse, lost: asyncio.Event) -> None:
    """Send more output than there is room for, and break the connection."""
    assert made.transport is not None
    for _ in range(4):
        await socket.send_bytes(bytes(ROOM // 2))
    made.transport.abort()
    lost.set()


async def test_a_kill_finds_out_that_the_connection_is_lost_although_no_output_is_read() -> None:
    lost = asyncio.Event()

    async with reached() as (made, vm):

        async def flood(socket: web.WebSocketResponse) -> None:
            if made.names.count("GET sessions/s-9/pty") == 1:
                await flood_and_lose(made, socket, lost)
                return
            async for message in socket:
                if message.data == _KILL:
                    await socket.close(code=1000, message=b"killed")

        made.play = flood
        async with vm.terminal(session_id="s-9") as terminal:
            with anyio.fail_after(_SOON):
                await lost.wait()
                await terminal.kill()
                assert await terminal.wait() is None
            pieces = [piece async for piece in terminal]
            assert pieces[-1] == Replayed(connections=2)


async def test_a_size_is_set_although_the_connection_is_lost_meanwhile() -> None:
    lost = asyncio.Event()

    async with reached() as (made, vm):

        async def flood(socket: web.WebSocketResponse) -> None:
            if made.names.count("GET sessions/s-9/pty") == 1:
                await flood_and_lose(made, socket, lost)
            else:
                await socket.close(code=1000)

        made.play = flood
        async with vm.terminal(session_id="s-9") as terminal:
            await lost.wait()

            async def resize_until_lost() -> None:
                # The first one that finds the connection lost, which is not noticed otherwise, waits for the next one.
                while made.names.count("GET sessions/s-9/pty") == 1 and not terminal.ended:
                    await terminal.resize(97, 31)
                    await asyncio.sleep(0)

            with anyio.fail_after(_SOON):
                resizing = asyncio.ensure_future(resize_until_lost())
                connection = terminal._connection  # pyright: ignore[reportPrivateUsage]
                assert connection is not None
                while not resizing.done():
                    socket = connection._socket  # pyright: ignore[reportPrivateUsage]
                    if socket is None or not socket.usable:
                        break
                    await asyncio.sleep(0.001)
                pieces = [piece async for piece in terminal]
                assert pieces[-1] == Replayed(connections=2)
                with contextlib.suppress(TerminalClosedError):  # it may have ended before the size could be sent
                    await resizing
        assert made.requests[-1][2]["cols"] == "97"
