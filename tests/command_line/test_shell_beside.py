"""``arker shell`` beside a shell of this machine: the same is typed into both, and the same has to appear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from arker.emulator import Emulator
from tests.command_line.support import Program, at_shell
from tests.support.relay import relay
from tests.support.sittings import SHELL, begin, edit, until_same, use_drawing, use_shell, use_top
from tests.support.typist import ENV, PROMPT, Local, at_local, in_terminal

pytestmark = [pytest.mark.anyio, pytest.mark.needs("terminals"), pytest.mark.usefixtures("web")]


@asynccontextmanager
async def both(program: Program, place: Path) -> AsyncGenerator[tuple[Local, Local], None]:
    """Sit down at two terminals of this machine: `arker shell` is in one, a shell in the other."""
    async with at_shell(program, "web") as there, at_local(in_terminal(SHELL, str(place), ENV)) as here:
        await asyncio.gather(begin(there), begin(here))
        yield there, here


async def test_the_same_appears_as_at_a_shell_of_this_machine(arker_program: Program, tmp_path: Path) -> None:
    async with both(arker_program, tmp_path) as (there, here):
        await asyncio.gather(use_shell(there), use_shell(here))
        assert there.seen.decode("utf-8", "backslashreplace") == here.seen.decode("utf-8", "backslashreplace")
        assert there.screen == here.screen
        assert there.ended_with() == here.ended_with() == 7


async def test_a_megabyte_arrives_whole(arker_program: Program, tmp_path: Path) -> None:
    async with both(arker_program, tmp_path) as (there, here):
        for typist in (there, here):
            await typist.enter("seq 1 160000 | head -c 1000000; exit", b"exit")
            await typist.until_over()
        assert there.seen == here.seen
        assert len(there.seen) > 1_000_000


@pytest.mark.parametrize(("use", "end"), [(edit, b":q!\r"), (use_drawing, b"\x03")])
async def test_the_screen_is_the_same_although_the_connection_is_lost(
    arker_emulator: Emulator, arker_program: Program, tmp_path: Path, use: Callable[..., Awaitable[None]], end: bytes
) -> None:
    async with relay(arker_emulator.url) as network, both(arker_program.at(network.url), tmp_path) as (there, here):
        await asyncio.gather(use(there, network), use(here))
        await until_same(there, here)
        for typist in (there, here):
            await typist.press(end, PROMPT)
            await typist.enter("ls; cat *", PROMPT)
        await until_same(there, here)


async def test_top_looks_the_same(arker_program: Program, tmp_path: Path) -> None:
    async with both(arker_program, tmp_path) as (there, here):
        columns, wanted = await asyncio.gather(use_top(there), use_top(here))
        assert columns == wanted
