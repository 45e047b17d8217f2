"""Row ``vmcrowd``: the wall time of 100 VMs that are forked and run something at once, beside bubblewrap by hand."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from arker import AsyncVM
from benchmarks import vms
from benchmarks.measure import Row, interleave_async, run_bounded

NAME: Final = "vmcrowd"
VMS: Final = 100
_ROUNDS: Final = 3


def measure(base_url: str) -> Row:
    del base_url  # the embedded backend is asked, not the loopback server
    return run_bounded(_measure())


async def _measure() -> Row:
    async with vms.bench() as bench:

        async def one() -> AsyncVM:
            vm = await bench.client.fork("ubuntu")
            assert (await vm.run("true")).exit_code == 0
            return vm

        async def ours() -> float:
            started = time.perf_counter()
            made = await asyncio.gather(*(one() for _ in range(VMS)))
            taken = time.perf_counter() - started
            await asyncio.gather(*(vm.delete() for vm in made))
            return taken

        def by_hand() -> float:
            started = time.perf_counter()
            with ThreadPoolExecutor(max_workers=4) as pool:
                for done in [pool.submit(bench.bare.isolated) for _ in range(VMS)]:
                    done.result()
            return time.perf_counter() - started

        async def limit() -> float:
            return await asyncio.to_thread(by_hand)

        rounds = await interleave_async(limit, ours, rounds=_ROUNDS)
    return rounds.row(NAME, f"{VMS} VMs forked and run at once; limit: bwrap {VMS} times")
