"""Row ``vmstate``: a fork with its first run, on a backend that keeps its VMs, beside one that does not."""

from __future__ import annotations

from typing import Final

from arker import AsyncArker, AsyncVM
from benchmarks import vms
from benchmarks.measure import Row, all_cores, interleave_async, run_bounded

NAME: Final = "vmstate"
_ROUNDS: Final = 40


def measure(base_url: str) -> Row:
    del base_url  # embedded backends are asked, not the loopback server
    return run_bounded(_measure())


async def _measure() -> Row:
    with vms.place() as place, all_cores():
        async with (
            AsyncArker.local(isolation="bubblewrap", state_parent=place) as without,
            AsyncArker.local(isolation="bubblewrap", state_parent=place, state=place / "state") as lasting,
        ):
            sources = [await _source(client) for client in (without, lasting)]

            async def limit() -> float:
                return await vms.forked(without, sources[0], run=True)

            async def ours() -> float:
                return await vms.forked(lasting, sources[1], run=True)

            rounds = await interleave_async(limit, ours, rounds=_ROUNDS)
    return rounds.row(NAME, "fork of a live VM and its first run, state kept; limit: not kept")


async def _source(client: AsyncArker) -> AsyncVM:
    vm = await client.fork("ubuntu")
    for number in range(vms.FILES):
        await vm.sync(f"file-{number}", b"x" * 1000)
    return vm
