"""Terminals for long: 10 MB of output beside a terminal of this machine, and many lost connections under a stream."""

from __future__ import annotations

from pathlib import Path

import pytest

from arker import AsyncArker, Replayed
from arker.emulator import Emulator
from tests.support.relay import relay
from tests.support.typist import ENV, PROMPT, at_local, at_remote

pytestmark = pytest.mark.anyio

LINES = "seq 1 1400000 | head -c 10000000; exit"


async def test_ten_megabytes_arrive_whole(arker: AsyncArker, tmp_path: Path) -> None:
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
            await typist.enter(LINES, b"exit")
            await typist.until_over()
        assert len(there.seen) > 10_000_000
        assert there.seen == here.seen


async def test_a_counter_misses_nothing_over_lost_connections(arker_emulator: Emulator, arker: AsyncArker) -> None:
    vm = await arker.fork("ubuntu")
    async with (
        relay(arker_emulator.url) as network,
        AsyncArker(arker_emulator.api_key, base_url=network.url, control_base_url=network.url) as ar,
        ar.vm(vm.id).terminal("/bin/sh", env={"PS1": ""}) as terminal,
    ):
        await terminal.write("stty -echo; for i in $(seq 1000 2999); do echo $i; sleep 0.002; done; exit\n")
        seen = bytearray()
        pieces = cuts = 0
        async for piece in terminal:
            if isinstance(piece, Replayed):
                seen.clear()  # all of it fits into what the server keeps
                continue
            seen += piece
            pieces += 1
            if pieces % 40 == 0 and cuts < 20:
                cuts += 1
                network.cut()
        assert cuts == 20
        assert [int(line) for line in seen.split() if line.isdigit()] == list(range(1000, 3000))
