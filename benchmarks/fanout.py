"""Row ``fanout``: the wall time of 500 VMs at once, each forked, used and deleted, on a slow server."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from arker import AsyncArker
from benchmarks.limit import Limit, settle
from benchmarks.measure import Row, interleave_async, run_bounded
from benchmarks.server import API_KEY

NAME: Final = "fanout"
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

            async def one() -> None:
                vm_id = await limit.fork("ubuntu")
                _, _, exit_code = await limit.run(limit.vm_url(vm_id, "/runs"), "echo hi")
                assert exit_code == 0
                assert await limit.delete(limit.vm_url(vm_id))

            await asyncio.gather(*(one() for _ in range(VMS)))
        taken = time.perf_counter() - started
        await settle()
        return taken

    async def ours() -> float:
        started = time.perf_counter()
        async with AsyncArker(API_KEY, base_url=base_url) as client:

            async def one() -> None:
                vm = await client.fork("ubuntu")
                assert (await vm.run("echo hi")).exit_code == 0
                assert (await vm.delete()).deleted

            await asyncio.gather(*(one() for _ in range(VMS)))
        taken = time.perf_counter() - started
        await settle()
        return taken

    rounds = await interleave_async(by_hand, ours, rounds=ROUNDS)
    return rounds.row(NAME, f"{VMS} VMs at once: fork, run, delete; server {LATE_MS} ms late", at_most=TARGET)
