"""Rows on what a command may get, beside a bare ``vm.run``: ``runenv``, ``runkill``, and ``runsatonce``."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from arker import AsyncArker, AsyncVM, CompletedRunResult
from benchmarks.measure import Row, all_cores, interleave_async, run_bounded

_ROUNDS: Final = 25
_CALLS: Final = 3
"""Commands of a sample, one after the other."""
_AT_ONCE: Final = 3
_SECONDS: Final = 1.0


def measure_env(base_url: str) -> Row:
    del base_url  # the embedded backend is asked, not the loopback server
    title = "run true with env= and cwd=; limit: run true"
    return run_bounded(_beside_bare("runenv", title, {"env": {"STAGE": "test"}, "cwd": "/tmp"}))


def measure_kill(base_url: str) -> Row:
    del base_url  # as above
    return run_bounded(_beside_bare("runkill", "run true with on_cancel=; limit: run true", {"on_cancel": "kill"}))


def measure_at_once(base_url: str) -> Row:
    del base_url  # as above
    return run_bounded(_at_once())


async def _beside_bare(name: str, title: str, options: dict[str, Any]) -> Row:
    async with AsyncArker.local() as client, await client.fork("ubuntu") as vm:
        with all_cores():
            rounds = await interleave_async(lambda: _taken(vm, {}), lambda: _taken(vm, options), rounds=_ROUNDS)
    return rounds.row(name, title)


async def _taken(vm: AsyncVM, options: dict[str, Any]) -> float:
    untyped: Any = vm
    started = time.perf_counter()
    for _ in range(_CALLS):
        result: CompletedRunResult = await untyped.run("true", **options)
        assert result.exit_code == 0
    return (time.perf_counter() - started) / _CALLS


async def _at_once() -> Row:
    async with AsyncArker.local() as client, await client.fork("ubuntu") as vm:

        async def sleep() -> float:
            started = time.perf_counter()
            await vm.run(f"sleep {_SECONDS:g}")
            return time.perf_counter() - started

        async def at_once() -> float:
            started = time.perf_counter()
            await asyncio.gather(*(vm.run(f"sleep {_SECONDS:g}") for _ in range(_AT_ONCE)))
            return time.perf_counter() - started

        with all_cores():
            rounds = await interleave_async(sleep, at_once, rounds=5)
    return rounds.row("runsatonce", f"{_AT_ONCE} times sleep {_SECONDS:g} at once; limit: once")
