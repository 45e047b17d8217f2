"""Rows ``call`` and ``calltls``: the CPU time of one small call, a command in the foreground."""

from __future__ import annotations

import time
from typing import Final

from arker import AsyncArker
from benchmarks.limit import Limit
from benchmarks.measure import Row, interleave_async, run_bounded
from benchmarks.server import API_KEY, VM_ID

CALLS: Final = 400
ROUNDS: Final = 15


def measure(base_url: str, name: str) -> Row:
    return run_bounded(_measure(base_url, name))


async def _measure(base_url: str, name: str) -> Row:
    async with Limit(base_url) as limit, AsyncArker(API_KEY, base_url=base_url) as client:
        vm = client.vm(VM_ID)
        url = limit.vm_url(VM_ID, "/runs")

        async def by_hand() -> float:
            started = time.process_time()
            for _ in range(CALLS):
                _, _, exit_code = await limit.run(url, "echo hi")
                assert exit_code == 0
            return (time.process_time() - started) / CALLS

        async def ours() -> float:
            started = time.process_time()
            for _ in range(CALLS):
                result = await vm.run("echo hi")
                assert result.exit_code == 0
            return (time.process_time() - started) / CALLS

        rounds = await interleave_async(by_hand, ours, rounds=ROUNDS)
    return rounds.row(name, "one small call, CPU")
