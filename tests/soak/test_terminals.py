"""Terminals for long: 10 MB of output beside a terminal of this machine, and many lost connections."""

from __future__ import annotations

from pathlib import Path

import pytest

from arker import AsyncArker, Replayed
from arker.emulator import Emulator
from tests.command_line.conftest import arker_program as arker_program  # the fixtures
from tests.command_line.conftest import bare as bare
from tests.command_line.conftest import runner as runner
from tests.command_line.conftest import web as web
from tests.command_line.support import Program, at_shell
from tests.soak.conftest import Soak
from tests.support.relay import relay
from tests.support.sittings import SHELL, begin, until_same
from tests.support.typist import ENV, Typist, at_local, at_remote, in_terminal

pytestmark = pytest.mark.anyio


async def test_ten_megabytes_arrive_whole(arker: AsyncArker, tmp_path: Path, soak: Soak) -> None:
    vm = await arker.fork("ubuntu")
    async with (
        vm.terminal(env=ENV) as terminal,
        at_remote(terminal) as there,
        at_local(in_terminal(SHELL, str(tmp_path), ENV)) as here,
    ):
        await _compare(there, here, soak.times(10_000_000, at_least=200_000))


async def test_ten_megabytes_arrive_whole_at_the_command_line(
    arker_program: Program, web: str, tmp_path: Path, soak: Soak
) -> None:
    async with at_shell(arker_program, web) as there, at_local(in_terminal(SHELL, str(tmp_path), ENV)) as here:
        await _compare(there, here, soak.times(10_000_000, at_least=200_000))
        assert there.ended_with() == 0


async def _compare(there: Typist, here: Typist, size: int) -> None:
    for typist in (there, here):
        await begin(typist)
        await typist.enter(f"seq 1 1400000 | head -c {size}; exit", b"exit")
        await typist.until_over()
    assert len(there.seen) > size
    assert there.seen == here.seen


async def test_the_screen_of_an_editor_is_the_same_after_many_lost_connections(
    arker_emulator: Emulator, arker_program: Program, web: str, tmp_path: Path, soak: Soak
) -> None:
    async with relay(arker_emulator.url) as network:
        program = arker_program.at(network.url)
        async with at_shell(program, web) as there, at_local(in_terminal(SHELL, str(tmp_path), ENV)) as here:
            for typist in (there, here):
                await begin(typist)
                await typist.enter("vi -u NONE -i NONE file", b"file")
            for number in range(soak.times(100, at_least=2)):
                line = f"line {number} {'é€' * soak.rng.randrange(1, 30)}"
                for typist in (there, here):
                    await typist.type(f"o{line}\x1b\x0c".encode())  # and drop what is in the last line
                    await typist.until_on_screen(line)
                await until_same(there, here)
                place = len(there.seen)
                assert network.cut() > 0
                await there.until_replayed(place)
                await until_same(there, here)


async def test_a_counter_misses_nothing_over_lost_connections(
    arker_emulator: Emulator, arker: AsyncArker, soak: Soak
) -> None:
    wanted = soak.times(20, at_least=2)
    vm = await arker.fork("ubuntu")
    async with (
        relay(arker_emulator.url) as network,
        AsyncArker(arker_emulator.api_key, base_url=network.url, control_base_url=network.url) as ar,
        ar.vm(vm.id).terminal("/bin/sh", env={"PS1": ""}) as terminal,
    ):
        # After each hundred it waits to be told that these have come.
        hundred = "for i in $(seq 100); do echo $((n = n + 1)); sleep 0.002; done; read more"
        await terminal.write(f"n=999; for hundred in $(seq {wanted}); do {hundred}; done; exit\n")
        seen = bytearray()
        cuts = replays = told = 0
        async for piece in terminal:
            if isinstance(piece, Replayed):
                seen.clear()  # all of it fits into what the server keeps
                replays += 1
                continue
            seen += piece
            if cuts == told < wanted and b"%d\r\n" % (1000 + 100 * cuts) in seen:
                cuts += 1
                assert network.cut() > 0
            elif replays == cuts > told and b"%d\r\n" % (999 + 100 * cuts) in seen:
                told += 1
                await terminal.write("\n")
        assert cuts == replays == told == wanted
        # What was typed is seen, too.
        lines = seen.partition(b"exit\r\n")[2].split()
        assert [int(line) for line in lines] == list(range(1000, 1000 + 100 * wanted))
