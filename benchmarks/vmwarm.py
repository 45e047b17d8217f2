"""Row ``vmwarm``: the wall time of the first run of a new VM, beside bubblewrap by hand with a VM's options."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from benchmarks import vms
from benchmarks.measure import Row, run_bounded

NAME: Final = "vmwarm"
_ROUNDS: Final = 12
_PAUSE: Final = 0.3
"""Seconds in which a spare sandbox gets ready, as between VMs of a program that does something with them."""


def measure(base_url: str) -> Row:
    del base_url  # the embedded backend is asked, not the loopback server
    return run_bounded(_measure())


async def _measure() -> Row:
    async with vms.bench() as bench:

        async def first_run(source: vms.Source) -> float:
            vm = await bench.client.fork(source)
            await asyncio.sleep(_PAUSE)
            started = time.perf_counter()
            assert (await vm.run("true")).exit_code == 0
            taken = time.perf_counter() - started
            await vm.delete()
            return taken

        async def ours() -> float:
            return await bench.both(first_run)

        rounds = await vms.rounds_of(bench.bare.isolated, ours, rounds=_ROUNDS)
    return rounds.row(NAME, f"first run of a new VM ({bench.sources()}); limit: bwrap")
