"""Row ``vmrun``: the wall time of ``vm.run("true")`` in a VM that has started, beside ``bash -c true`` by hand."""

from __future__ import annotations

import time
from typing import Final

from benchmarks import vms
from benchmarks.measure import Row, run_bounded

NAME: Final = "vmrun"


def measure(base_url: str) -> Row:
    del base_url  # the embedded backend is asked, not the loopback server
    return run_bounded(_measure())


async def _measure() -> Row:
    isolated: list[float] = []
    async with vms.bench() as bench:

        def by_hand() -> float:
            isolated.append(bench.bare.isolated())
            return bench.bare.bash()

        async def ours() -> float:
            started = time.perf_counter()
            assert (await bench.small.run("true")).exit_code == 0
            return time.perf_counter() - started

        rounds = await vms.rounds_of(by_hand, ours)
    title = f"run true in a started VM; limit: bash (bwrap: {vms.median_ms(isolated)})"
    return rounds.row(NAME, title)
