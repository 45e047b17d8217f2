"""Terminals for long: 10 MB of output beside a terminal of this machine, and many lost connections under a stream."""

from __future__ import annotations

from pathlib import Path

import pytest

from arker import AsyncArker, Replayed
from arker.emulator import Emulator
from tests.soak.conftest import Soak
from tests.support.relay import relay
from tests.support.typist import ENV, PROMPT, at_local, at_remote

pytestmark = pytest.mark.anyio


async def test_ten_megabytes_arrive_whole(arker: AsyncArker, tmp_path: Path, soak: Soak) -> None:
    size = soak.times(10_000_000, at_least=200_000)
    shell = ("/bin/bash", "--noprofile", "--norc")
    vm = await arker.fork("ubuntu")
    async with (
        vm.terminal(env=ENV) as terminal,
        at_remote(terminal) as there,
        at_local(shell, str(tmp_path), ENV) as here,
    ):
        for typist in (there, here):
            await typist.until(PROMPT)
            await typist.enter(f"exec {' '.join(shell)}")
            typist.seen.clear()
            await typist.enter(f"seq 1 1400000 | head -c {size}; exit", b"exit")
            await typist.until_over()
        assert len(there.seen) > size
        assert there.seen == here.seen


async def test_a_counter_misses_nothing_over_lost_connections(
    arker_emulator: Emulator, arker: AsyncArker, soak: Soak
) -> None:
    wanted = soak.times(20, at_least=2)
    last = 1000 + 100 * wanted
    vm = await arker.fork("ubuntu")
    async with (
        relay(arker_emulator.url) as network,
        AsyncArker(arker_emulator.api_key, base_url=network.url, control_base_url=network.url) as ar,
        ar.vm(vm.id).terminal("/bin/sh", env={"PS1": ""}) as terminal,
    ):
        count = f"for i in $(seq 1000 {last}); do echo $i; sleep 0.002; done"
        await terminal.write(f"{count}; exit\n")
        seen = bytearray()
        pieces = cuts = 0
        async for piece in terminal:
            if isinstance(piece, Replayed):
                seen.clear()  # all of it fits into what the server keeps
                continue
            seen += piece
            pieces += 1
            if pieces % 40 == 0 and cuts < wanted:
                cuts += 1
                network.cut()
        assert cuts == wanted
        # What was typed is seen, too.
        assert [int(line) for line in seen.partition(b"exit\r\n")[2].split()] == list(range(1000, last + 1))
