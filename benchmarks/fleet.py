"""Rows ``fleet…``: the wall and the CPU time of a fleet of 500 VMs, forked, used and deleted, on a slow server."""

from __future__ import annotations

import asyncio
from typing import Final

from arker import AsyncArker, AsyncVM
from benchmarks.limit import Limit, spending
from benchmarks.measure import Row, run_bounded
from benchmarks.server import API_KEY

VMS: Final = 500
ROUNDS: Final = 7


def measure(base_url: str, name: str, late_ms: int) -> list[Row]:
    """Measure it on a server that is late by some milliseconds."""
    return run_bounded(_measure(f"{base_url}/late/{late_ms}", name, late_ms))


async def _measure(base_url: str, name: str, late_ms: int) -> list[Row]:
    async def by_hand() -> None:
        async with Limit(base_url) as limit:
            # As in a fleet, all exist before the first is used, and until the last was used.
            vm_ids = await asyncio.gather(*(limit.fork("ubuntu") for _ in range(VMS)))
            runs = [limit.run(limit.vm_url(vm_id, "/runs"), "echo hi") for vm_id in vm_ids]
            for _, _, exit_code in await asyncio.gather(*runs):
                assert exit_code == 0
            assert all(await asyncio.gather(*(limit.delete(limit.vm_url(vm_id)) for vm_id in vm_ids)))

    async def ours() -> None:
        async def echo(vm: AsyncVM, text: str) -> int | None:
            return (await vm.run(f"echo {text}")).exit_code

        async with AsyncArker(API_KEY, base_url=base_url) as client, client.fork_many("ubuntu", VMS) as fleet:
            codes = [outcome.unwrap() async for outcome in fleet.map(echo, ["hi"] * VMS)]
        assert codes == [0] * VMS

    title = f"a fleet of {VMS} VMs: fork, one run in each, delete; server {late_ms} ms late"
    return await spending(name, title, by_hand, ours, rounds=ROUNDS)
