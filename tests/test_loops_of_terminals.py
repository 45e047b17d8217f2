"""Terminals that are used in another event loop than the one that they were opened in."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import anyio
import pytest
from aiohttp import web

from arker import AsyncTerminal, ConfigurationError
from arker._terminals.connection import Connection, Settings, Size
from tests.test_held_terminals import echo, reached

pytestmark = pytest.mark.anyio

_SOON: Final = 60.0


async def elsewhere(work: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of work in an event loop of another thread."""
    with anyio.fail_after(_SOON):
        return await asyncio.to_thread(asyncio.run, work)


async def test_while_its_own_one_runs() -> None:
    async def uses(terminal: AsyncTerminal) -> list[str]:
        told: list[str] = []
        for use in (terminal.read(), anext(terminal), terminal.write("x"), terminal.wait(), terminal.close()):
            with pytest.raises(ConfigurationError, match="in another event loop: use it there") as caught:
                await use
            told.append(caught.value.message)
        return told

    async with reached() as (made, vm):
        made.play = echo
        async with vm.terminal() as terminal:
            assert len(await elsewhere(uses(terminal))) == 5
            await terminal.write("still there")
            assert await terminal.read() == b"still there"
        assert made.names.count("DELETE sessions/s-1") == 1


async def test_when_its_own_one_has_ended() -> None:
    async def say(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"hello")
        await socket.receive()

    async with reached() as (made, vm):
        made.play = say

        async def opened() -> AsyncTerminal:
            terminal = await vm.terminal().open()
            assert await terminal.read(1) == b"h"  # the rest of the piece is here, too
            return terminal

        terminal = await elsewhere(opened())
        assert await terminal.read() == b"ello"
        with pytest.raises(ConfigurationError, match="was closed"):
            await terminal.read()
        await terminal.close()
        await terminal.close()
        assert made.names.count("DELETE sessions/s-1") == 1


async def test_when_its_own_one_has_ended_without_ending_it() -> None:
    async with reached() as (_, vm):

        async def made() -> Connection:
            settings = Settings(command=None, persist=True, idle_seconds=None, reconnect=60.0)
            place = vm.terminal()._place  # pyright: ignore[reportPrivateUsage]
            return Connection(place, "s-9", settings, Size(80, 24))

        connection = await elsewhere(made())
        with pytest.raises(ConfigurationError, match=r"event loop that has ended; terminal\(\) gives a new one"):
            connection.check_loop()
        await connection.close()
