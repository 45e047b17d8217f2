"""Row ``vmidle``: the memory of an idle VM, beside that of a Python that does nothing.

It is the proportional set size of all its processes, the median of some VMs that have run something.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
from pathlib import Path
from typing import Final

from arker.emulator.sandbox.base import RunSpec
from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from benchmarks import vms
from benchmarks.measure import Rounds, Row, all_cores, run_bounded

NAME: Final = "vmidle"
VMS: Final = 50


def measure(base_url: str) -> Row:
    del base_url  # no server is asked
    return run_bounded(_measure())


async def _measure() -> Row:
    with vms.place() as place, all_cores():
        provider = await BubblewrapProvider.open(place / "state")
        command = ["/usr/bin/python3", "-I", "-S", "-c", "import posix; posix.read(0, 1)"]
        bare = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(VMS)]  # noqa: ASYNC220
        try:
            await provider.spares.let_go()
            sandboxes = [await provider.create(f"vm-{number}") for number in range(VMS)]
            for sandbox in sandboxes:
                await (await sandbox.run(RunSpec(command="true"))).wait()
            await asyncio.sleep(1)
            ours = [sum(_memory(pid) for pid in _below(started)) for started in _children() if _is_bwrap(started)]
            limit = [_memory(process.pid) for process in bare]
        finally:
            for process in bare:
                process.communicate()
            await provider.close()
    rounds = Rounds([statistics.median(limit)], [statistics.median(ours)])
    title = f"memory of an idle VM, of {VMS}; limit: a Python"
    return rounds.row(NAME, title, unit="B")


def _children() -> list[int]:
    return [int(pid) for pid in Path("/proc/thread-self/children").read_text().split()]


def _is_bwrap(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text() == "bwrap\n"


def _below(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _below(int(child)))]


def _memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
