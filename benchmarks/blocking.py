"""Row ``sync``: the wall time of one small call through the blocking client, and through the async one."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import Final

from arker import AsyncArker
from arker_sync import Arker
from benchmarks.measure import Row, interleave
from benchmarks.server import API_KEY, VM_ID

NAME: Final = "sync"
CALLS: Final = 400
ROUNDS: Final = 15


def measure(base_url: str) -> Row:
    with Arker(API_KEY, base_url=base_url) as client, closing(asyncio.new_event_loop()) as loop:
        vm = client.vm(VM_ID)
        twin = AsyncArker(API_KEY, base_url=base_url)
        async_vm = twin.vm(VM_ID)

        async def calls() -> None:
            for _ in range(CALLS):
                assert (await async_vm.run("echo hi")).exit_code == 0

        def by_async() -> float:
            started = time.perf_counter()
            loop.run_until_complete(calls())
            return (time.perf_counter() - started) / CALLS

        def ours() -> float:
            started = time.perf_counter()
            for _ in range(CALLS):
                assert vm.run("echo hi").exit_code == 0
            return (time.perf_counter() - started) / CALLS

        rounds = interleave(by_async, ours, rounds=ROUNDS)
        loop.run_until_complete(twin.aclose())
    return rounds.row(NAME, "one small blocking call; limit: its async twin")
