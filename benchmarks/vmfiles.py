"""Rows ``vmstat`` and ``vmlistdir``: operations of ``vm.files`` beside a bare ``vm.run("true")``.

``python -m benchmarks.vmfiles`` prints the cost of every operation as a table in Markdown.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final

from arker import AsyncArker, AsyncVM
from benchmarks.measure import Row, all_cores, interleave_async, run_bounded

ROUNDS: Final = 25
ENTRIES: Final = 100
_PREPARE: Final = f"""
mkdir -p /tmp/dir /tmp/tree/a/b && cd /tmp/dir
for i in $(seq {ENTRIES}); do echo "a line, number $i" > "file-$i.txt"; done
cp file-1.txt /tmp/file && ln -s file /tmp/link && cp file-*.txt /tmp/tree/a/b
"""


def measure_stat(base_url: str) -> Row:
    del base_url  # the embedded backend is asked, not the loopback server
    return run_bounded(_measure("vmstat", "vm.files.stat", lambda vm: vm.files.stat("/tmp/file")))


def measure_listdir(base_url: str) -> Row:
    del base_url
    title = f"vm.files.listdir of {ENTRIES} entries"
    return run_bounded(_measure("vmlistdir", title, lambda vm: vm.files.listdir("/tmp/dir")))


async def _measure(name: str, title: str, work: Callable[[AsyncVM], Awaitable[object]]) -> Row:
    with all_cores():
        async with AsyncArker.local() as client, await client.fork("ubuntu") as vm:
            await vm.run(_PREPARE, check=True)
            rounds = await interleave_async(partial(_timed_run, vm), partial(_timed_work, work, vm), rounds=ROUNDS)
    return rounds.row(name, f"{title}; limit: vm.run")


async def _timed(work: Awaitable[object]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def _timed_run(vm: AsyncVM) -> float:
    return await _timed(vm.run("true"))


async def _timed_work(work: Callable[[AsyncVM], Awaitable[object]], vm: AsyncVM) -> float:
    return await _timed(work(vm))


async def _all(items: AsyncIterator[Any]) -> int:
    return sum([1 async for _ in items])


async def _opened(vm: AsyncVM) -> None:
    async with vm.files.open("/tmp/file") as file:
        await file.read()


OPERATIONS: Final[dict[str, Callable[[AsyncVM], Awaitable[object]]]] = {
    "exists, is_file, is_dir": lambda vm: vm.files.exists("/tmp/file"),
    "stat": lambda vm: vm.files.stat("/tmp/file"),
    "readlink": lambda vm: vm.files.readlink("/tmp/link"),
    f"listdir of {ENTRIES}": lambda vm: vm.files.listdir("/tmp/dir"),
    f"scandir of {ENTRIES}": lambda vm: _all(vm.files.scandir("/tmp/dir")),
    f"walk of {ENTRIES}": lambda vm: _all(vm.files.walk("/tmp/tree")),
    f"glob of {ENTRIES}": lambda vm: vm.files.glob("/tmp/dir/*.txt"),
    f"grep in {ENTRIES} files": lambda vm: _all(vm.files.grep("number 7$", "/tmp/dir")),
    "read_bytes, read_text": lambda vm: vm.files.read_bytes("/tmp/file"),
    "write_bytes(parents=True)": lambda vm: vm.files.write_bytes("/tmp/new", b"x", parents=True),
    "write_bytes, write_text": lambda vm: vm.files.write_bytes("/tmp/new", b"x"),
    "write_bytes(append=True)": lambda vm: vm.files.write_bytes("/tmp/more", b"x", append=True),
    "write_bytes(mode=)": lambda vm: vm.files.write_bytes("/tmp/mode", b"x", mode=0o600),
    "open, to read": _opened,
    "mkdir": lambda vm: vm.files.mkdir("/tmp/made", exist_ok=True),
    "touch": lambda vm: vm.files.touch("/tmp/new"),
    "chmod": lambda vm: vm.files.chmod("/tmp/new", 0o644),
    "copy": lambda vm: vm.files.copy("/tmp/file", "/tmp/copy"),
    "rename, replace": lambda vm: vm.files.rename("/tmp/copy", "/tmp/copy"),
    "remove": lambda vm: vm.files.remove("/tmp/nothing", missing_ok=True),
}


async def _table() -> None:
    async with AsyncArker.local() as client, await client.fork("ubuntu") as vm:
        await vm.run(_PREPARE, check=True)
        print('| operation | beside `vm.run("true")` | median |\n| --- | --- | --- |')
        for name, work in OPERATIONS.items():
            by_hand, ours = partial(_timed_run, vm), partial(_timed_work, work, vm)
            rounds = await interleave_async(by_hand, ours, rounds=ROUNDS)
            print(f"| {name} | {rounds.ratio:.1f}x | {statistics.median(rounds.ours) * 1000:.1f} ms |", flush=True)


if __name__ == "__main__":
    asyncio.run(_table())
