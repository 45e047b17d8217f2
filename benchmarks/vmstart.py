"""Row ``vmstart``: the wall time of a fork and its first run on the embedded backend, beside bubblewrap by hand."""

from __future__ import annotations

from typing import Final

from benchmarks import vms
from benchmarks.measure import Row, run_bounded

NAME: Final = "vmstart"


def measure(base_url: str) -> Row:
    del base_url  # the embedded backend is asked, not the loopback server
    return run_bounded(_measure())


async def _measure() -> Row:
    async with vms.bench() as bench:

        async def ours() -> float:
            return await bench.both(lambda source: bench.forked(source, run=True))

        rounds = await vms.rounds_of(bench.bare.isolated, ours)
    return rounds.row(NAME, f"fork and first run ({bench.sources()}); limit: bwrap")
