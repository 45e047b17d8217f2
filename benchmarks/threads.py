"""Row ``threads``: small calls by 64 threads through one blocking client, and by 64 tasks through an async one."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Final

from arker import AsyncArker
from arker_sync import Arker
from benchmarks.measure import Row, interleave
from benchmarks.server import API_KEY, VM_ID

NAME: Final = "threads"
THREADS: Final = 64
CALLS: Final = 20
"""The calls of each of them."""
ROUNDS: Final = 9


def measure(base_url: str) -> Row:
    with (
        Arker(API_KEY, base_url=base_url, overlap_sessions=0) as client,  # what is measured is the bridge
        ThreadPoolExecutor(THREADS) as pool,
        closing(asyncio.new_event_loop()) as loop,
    ):
        vm = client.vm(VM_ID)
        twin = AsyncArker(API_KEY, base_url=base_url, overlap_sessions=0)
        async_vm = twin.vm(VM_ID)

        async def task() -> None:
            for _ in range(CALLS):
                assert (await async_vm.run("echo hi")).exit_code == 0

        async def tasks() -> None:
            await asyncio.gather(*(task() for _ in range(THREADS)))

        def thread(_: int) -> None:
            for _ in range(CALLS):
                assert vm.run("echo hi").exit_code == 0

        def by_tasks() -> float:
            started = time.perf_counter()
            loop.run_until_complete(tasks())
            return (time.perf_counter() - started) / (THREADS * CALLS)

        def by_threads() -> float:
            started = time.perf_counter()
            list(pool.map(thread, range(THREADS)))
            return (time.perf_counter() - started) / (THREADS * CALLS)

        rounds = interleave(by_tasks, by_threads, rounds=ROUNDS)
        loop.run_until_complete(twin.aclose())
    return rounds.row(NAME, f"a call of {THREADS} threads at once; limit: {THREADS} tasks")
