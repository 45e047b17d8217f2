"""Rows ``vmlarge…``: the wall time of a fork of a VM with 20,000 files, beside that of copying them by hand.

In ``vmlarge`` the VM is forked at rest, as it is after its last run, and its fork, too: each round has a chain that is
one longer. In ``vmlargelive`` a command is going on in the VM, which notes for how long a fork has stopped it.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

from arker import AsyncVM
from arker._tasks.threads import finished_in_thread
from benchmarks import vms
from benchmarks.measure import Row, interleave_async, run_bounded, seconds

NAME: Final = "vmlarge"
FILES: Final = 20_000
_ROUNDS: Final = 3
_FILL: Final = """
import os
for number in range({files} // 100):
    os.mkdir(str(number))
    for each in range(100):
        with open(f"{{number}}/{{each}}", "w") as file:
            file.write("content")
"""


_TICK: Final = """
import os, time
last = time.monotonic()
print("ready", flush=True)
while not os.path.exists("asked"):
    time.sleep(0.001)
    now = time.monotonic()
    if now - last > 0.002:
        print(now - last, flush=True)
    last = now
"""


def measure(base_url: str) -> Row:
    del base_url  # the embedded backend is asked, not the loopback server
    return run_bounded(_at_rest())


def measure_live(base_url: str) -> Row:
    del base_url
    return run_bounded(_live())


@frozen
class _Large:
    """A VM with many files, and the same files by hand.

    Attributes:
        vm: The VM.
        directory: The directory of the files by hand.
    """

    vm: AsyncVM
    directory: Path

    async def copied(self) -> float:
        """Return the seconds of a copy by hand."""
        return await finished_in_thread(_copy, self.directory / "files", self.directory / "copy")


@asynccontextmanager
async def _large() -> AsyncGenerator[_Large, None]:
    async with vms.bench() as bench:
        with vms.place() as place:
            vm = await bench.client.fork("ubuntu")
            fill = _FILL.format(files=FILES)
            await vm.sync("fill.py", fill.encode())
            assert (await vm.run("python3 fill.py")).exit_code == 0
            await finished_in_thread(_by_hand, fill, place / "files")
            yield _Large(vm, place)


async def _at_rest() -> Row:
    async with _large() as large:
        last = large.vm

        async def forked() -> float:
            nonlocal last
            started = time.perf_counter()
            last = await last.fork()
            return time.perf_counter() - started

        rounds = await interleave_async(large.copied, forked, rounds=_ROUNDS)
        assert (await last.run("find . -type f | wc -l")).stdout_text == f"{FILES + 1}\n"
    return rounds.row(NAME, f"fork of a VM with {FILES:,} files; limit: cp -a")


async def _live() -> Row:
    async with _large() as large:
        await large.vm.sync("tick.py", _TICK.encode())
        run = await large.vm.start(["python3", "tick.py"])
        async for chunk in run.output():
            assert chunk.data.startswith(b"ready\n"), chunk
            break
        forks = 0

        async def forked() -> float:
            nonlocal forks
            started = time.perf_counter()
            fork = await large.vm.fork()
            taken = time.perf_counter() - started
            assert (await fork.run("find . -type f | wc -l")).stdout_text == f"{FILES + 2}\n"
            await fork.delete()
            forks += 1
            return taken

        rounds = await interleave_async(large.copied, forked, rounds=_ROUNDS - 1)
        await large.vm.sync("asked", b"")
        ended = await run.wait(check=True)
        pauses = sorted(map(float, ended.stdout_text.split()[1:]), reverse=True)[:forks]
        # What the machine itself takes from the command is among them, if it is longer than a fork's.
        pause = statistics.median(pauses or [0.0])
    title = f"fork of a busy VM with {FILES:,} files, which stops it for {seconds(pause)}; limit: cp -a"
    return rounds.row(f"{NAME}live", title)


def _by_hand(fill: str, place: Path) -> None:
    place.mkdir()
    subprocess.run(["/usr/bin/python3", "-c", fill], cwd=place, check=True)


def _copy(source: Path, target: Path) -> float:
    started = time.perf_counter()
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)
    taken = time.perf_counter() - started
    subprocess.run(["rm", "-rf", str(target)], check=True)
    return taken
