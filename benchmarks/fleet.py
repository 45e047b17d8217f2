"""Row ``fleet``: the wall time of a fleet of 500 VMs, forked, used and deleted, on a slow server."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from arker import AsyncArker, AsyncVM
from benchmarks.limit import Limit, settle
from benchmarks.measure import Row, interleave_async, run_bounded
from benchmarks.server import API_KEY

NAME: Final = "fleet"
TARGET: Final = 1.3
VMS: Final = 500
LATE_MS: Final = 20
ROUNDS: Final = 7


def measure(base_url: str) -> Row:
    return run_bounded(_measure(f"{base_url}/late/{LATE_MS}"))


async def _measure(base_url: str) -> Row:
    async def by_hand() -> float:
        started = time.perf_counter()
        async with Limit(base_url) as limit:
            # As in a fleet, all exist before the first is used, and until the last was used.
            vm_ids = await asyncio.gather(*(limit.fork("ubuntu") for _ in range(VMS)))
            runs = [limit.run(limit.vm_url(vm_id, "/runs"), "echo hi") for vm_id in vm_ids]
            for _, _, exit_code in await asyncio.gather(*runs):
                assert exit_code == 0
            assert all(await asyncio.gather(*(limit.delete(limit.vm_url(vm_id)) for vm_id in vm_ids)))
        taken = time.perf_counter() - started
        await settle()
        return taken

    async def ours() -> float:
        async def echo(vm: AsyncVM, text: str) -> int | None:
            return (await vm.run(f"echo {text}")).exit_code

        started = time.perf_counter()
        async with AsyncArker(API_KEY, base_url=base_url) as client, client.fork_many("ubuntu", VMS) as fleet:
            codes = [outcome.unwrap() async for outcome in fleet.map(echo, ["hi"] * VMS)]
        assert codes == [0] * VMS
        taken = time.perf_counter() - started
        await settle()
        return taken

    rounds = await interleave_async(by_hand, ours, rounds=ROUNDS)
    title = f"a fleet of {VMS} VMs: fork, one run in each, delete; server {LATE_MS} ms late"
    return rounds.row(NAME, title, at_most=TARGET)
