"""Many programs at once on a server that misbehaves, and a look at what they leave."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections import Counter
from typing import Any, Final

import anyio
from attrs import define, field

from arker import AsyncArker
from arker.emulator import Emulator, EmulatorOptions
from arker.emulator.control.fault import Fault
from tests.reliability.books import Audit, Books, Warnings, audit
from tests.reliability.programs import Program
from tests.support.forked import ForkedEmulator
from tests.support.waiting import until

BATCH: Final = 50
"""Rounds after which all is looked at."""
AT_ONCE: Final = 16
SHARE: Final = 0.05
"""Of the requests, those that a fault hits."""
_PATIENCE: Final = 120.0


@define
class Report:
    """What happened in all rounds."""

    rounds: int = 0
    faults: list[str] = field(factory=list[str])
    counts: dict[str, Counter[str]] = field(factory=dict[str, Counter[str]])

    def add(self, heading: str, counts: dict[str, int]) -> None:
        self.counts.setdefault(heading, Counter()).update(counts)

    def __str__(self) -> str:
        lines = [f"{self.rounds} rounds"]
        for heading, counts in self.counts.items():
            lines.append(f"{heading}: {sum(counts.values())}")
            lines += [f"  {name:36} {count:7}" for name, count in sorted(counts.items())]
        return "\n".join(lines)


def _set_faults(emulator: Emulator, rng: random.Random) -> dict[str, Fault]:
    faults = emulator.faults
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "503": (faults.error, {"status": 503}),
        "429": (faults.error, {"status": 429, "retry_after": 0.01}),
        "resource_pressure": (faults.error, {"status": 503, "code": "resource_pressure"}),
        "500": (faults.error, {"status": 500}),
        "500, done": (faults.error, {"status": 500, "processed": True}),
        "502, done": (faults.error, {"status": 502, "processed": True}),
        "504, done": (faults.error, {"status": 504, "processed": True}),
        "garbage, done": (faults.garbage, {}),
        "FIN before": (faults.close, {"moment": "before"}),
        "RST before": (faults.close, {"moment": "before", "reset": True}),
        "FIN amid": (faults.close, {"moment": "during", "seconds": 0.003}),
        "RST amid": (faults.close, {"moment": "during", "reset": True}),
        "FIN after": (faults.close, {"moment": "after"}),
        "RST after": (faults.close, {"moment": "after", "reset": True}),
        "cut": (faults.truncate, {}),
        "stall": (faults.stall, {}),
        "stall, done": (faults.stall, {"processed": True}),
        "delay": (faults.delay, {"seconds": 0.02}),
        "delay of the reply": (faults.delay, {"seconds": 0.02, "processed": True}),
    }
    share = SHARE / len(kinds)
    found = {name: make(**given, share=share, seed=rng.getrandbits(32)) for name, (make, given) in kinds.items()}
    found["expired"] = faults.expire(share=SHARE, seed=rng.getrandbits(32))
    return found


def sockets() -> int:
    """Return the number of open sockets of this process."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:  # the descriptor of the listing itself
            continue
    return count


async def _play(emulator: Emulator, names: list[str], rng: random.Random, books: Books) -> None:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, seed: int) -> None:
        async with limit:
            await Program(name, emulator, books, random.Random(seed)).live()

    with anyio.fail_after(_PATIENCE):
        await asyncio.gather(*(one(name, rng.getrandbits(64)) for name in names))


async def batch(emulator: Emulator, names: list[str], rng: random.Random, report: Report) -> None:
    """Play some rounds and add the findings to the report."""
    books, warnings = Books(), Warnings()
    tasks_before, sockets_before = asyncio.all_tasks(), sockets()
    faults = _set_faults(emulator, rng)
    logger = logging.getLogger("arker")
    logger.addHandler(warnings)
    try:
        await _play(emulator, names, rng, books)
    finally:
        logger.removeHandler(warnings)
        for fault in faults.values():
            fault.remove()
    with contextlib.suppress(AssertionError):  # the report tells of it
        await until(lambda: asyncio.all_tasks() <= tasks_before and sockets() <= sockets_before)
    if not asyncio.all_tasks() <= tasks_before:
        report.faults.append(f"tasks are left: {asyncio.all_tasks() - tasks_before}")
    if sockets() > sockets_before:
        report.faults.append(f"{sockets() - sockets_before} sockets are left")
    async with AsyncArker(**emulator.client_options, ledger=False) as steady:
        await _settled(steady, books)
        found = await audit(emulator, steady, books, warnings.texts)
    await emulator.areset()
    emulator.journal.clear()
    _tell(report, len(names), books, found, {name: fault.fired for name, fault in faults.items()})


async def _settled(steady: AsyncArker, books: Books) -> None:
    """Wait for what goes on in the VMs that are left: the caller of a run was maybe cancelled, and waits no more."""
    with anyio.fail_after(_PATIENCE):
        for vm_id in books.kept:
            handle = steady.vm(vm_id)
            while list(await handle.list_runs(state="running")):
                await asyncio.sleep(0.01)


def _tell(report: Report, rounds: int, books: Books, found: Audit, fired: dict[str, int]) -> None:
    report.rounds += rounds
    report.faults += found.faults
    report.add("operations", books.operations)
    report.add("cancelled", books.cancelled)
    report.add("errors", books.errors)
    report.add("faults that fired", fired)
    report.add("client", {"retries": books.retries})
    done = {"commands started": found.executions, "VMs made": found.forks, "VMs that only errors name": found.orphans}
    report.add("server", done)
    report.add("looked at afterwards", found.findings)


async def play(rounds: int, rng: random.Random, options: EmulatorOptions | None = None) -> Report:
    """So many rounds."""
    report = Report()
    async with ForkedEmulator(options) as emulator:
        for first in range(0, rounds, BATCH):
            names = [f"t{number}" for number in range(first, min(first + BATCH, rounds))]
            await batch(emulator, names, rng, report)
    return report


__all__ = ["Report", "batch", "play", "sockets"]
