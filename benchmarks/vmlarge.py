"""Row ``vmlarge``: the wall time of a fork of a VM with 20,000 files, beside that of copying them by hand.

The VM is forked at rest, as it is after its last run, and its fork, too: each round has a chain that is one longer.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Final

from benchmarks import vms
from benchmarks.measure import Row, interleave_async, run_bounded

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


def measure(base_url: str) -> Row:
    del base_url  # the embedded backend is asked, not the loopback server
    return run_bounded(_measure())


async def _measure() -> Row:
    async with vms.bench() as bench:
        with vms.place() as place:
            large = await bench.client.fork("ubuntu")
            fill = _FILL.format(files=FILES)
            await large.sync("fill.py", fill.encode())
            assert (await large.run("python3 fill.py")).exit_code == 0
            await asyncio.to_thread(_by_hand, fill, place / "files")
            last = large

            async def copied() -> float:
                return await asyncio.to_thread(_copy, place / "files", place / "copy")

            async def forked() -> float:
                nonlocal last
                started = time.perf_counter()
                last = await last.fork()
                return time.perf_counter() - started

            rounds = await interleave_async(copied, forked, rounds=_ROUNDS)
            assert (await last.run("find . -type f | wc -l")).stdout_text == f"{FILES + 1}\n"
    return rounds.row(NAME, "fork of a VM with 20,000 files; limit: cp -a")


def _by_hand(fill: str, place: Path) -> None:
    place.mkdir()
    subprocess.run(["/usr/bin/python3", "-c", fill], cwd=place, check=True)


def _copy(source: Path, target: Path) -> float:
    started = time.perf_counter()
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)
    taken = time.perf_counter() - started
    subprocess.run(["rm", "-rf", str(target)], check=True)
    return taken
