"""The end of a terminal while input is on its way."""

from __future__ import annotations

import asyncio
from typing import Final

import anyio
import pytest
from aiohttp import web

from arker import ConfigurationError
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
