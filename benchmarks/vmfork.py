"""Row ``vmfork``: the wall time of a fork on the embedded backend, beside bubblewrap by hand with a VM's options.

A fork copies files. The VM's processes start at its first use, which row ``vmstart`` measures.
"""

from __future__ import annotations

from typing import Final

from benchmarks import vms
from benchmarks.measure import Row, run_bounded

NAME: Final = "vmfork"


def measure(base_url: str) -> Row:
    del base_url  # the embedded backend is asked, not the loopback server
    return run_bounded(_measure())


async def _measure() -> Row:
    async with vms.bench() as bench:

        async def ours() -> float:
            return await bench.both(lambda source: bench.forked(source, run=False))

        rounds = await vms.rounds_of(bench.bare.isolated, ours)
    return rounds.row(NAME, f"fork ({bench.sources()}); limit: bwrap")
