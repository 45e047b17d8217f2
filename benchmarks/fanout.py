"""Rows ``fanout…``: the wall and the CPU time of 500 VMs at once, each forked, used and deleted, on a slow server."""

from __future__ import annotations

import asyncio
from typing import Final

from arker import AsyncArker
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

            async def one() -> None:
                vm_id = await limit.fork("ubuntu")
                _, _, exit_code = await limit.run(limit.vm_url(vm_id, "/runs"), "echo hi")
                assert exit_code == 0
                assert await limit.delete(limit.vm_url(vm_id))

            await asyncio.gather(*(one() for _ in range(VMS)))

    async def ours() -> None:
        async with AsyncArker(API_KEY, base_url=base_url) as client:

            async def one() -> None:
                vm = await client.fork("ubuntu")
                assert (await vm.run("echo hi")).exit_code == 0
                assert (await vm.delete()).deleted

            await asyncio.gather(*(one() for _ in range(VMS)))

    title = f"{VMS} VMs at once: fork, run, delete; server {late_ms} ms late"
    return await spending(name, title, by_hand, ours, rounds=ROUNDS)
