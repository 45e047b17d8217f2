"""The way of measuring: pinned cores, interleaved rounds, medians, and the table of ratios.

On a shared machine a time varies by 20 to 40 % within minutes. So the client and its limit alternate within a run, and
the result is the median of the ratios of neighbouring rounds, never a time.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, Final, Literal, TypeAlias, TypeVar

import attrs

T = TypeVar("T")
Unit: TypeAlias = Literal["s", "B"]

BOUND: Final = 60.0
"""Seconds that one row may take, unless the command line allows more: a benchmark that hangs must end."""

_allowed = BOUND

_USABLE = os.sched_getaffinity(0) if sys.platform == "linux" else set[int]()
"""The cores that this process may use, as of its start."""


@attrs.frozen
class Bound:
    """The bound of a row.

    Attributes:
        at_most: The largest value within it.
        of: What is bounded: the ratio, or what is ours, in seconds or bytes.
    """

    at_most: float
    of: Literal["ratio", "ours"] = "ratio"


@attrs.frozen(kw_only=True)
class Row:
    """A row of the table. Times are medians in seconds, amounts of memory in bytes.

    Attributes:
        name: Its name on the command line.
        title: A description of the measurement, for people.
        limit: The least cost of the work.
        ours: The cost through the client.
        ratio: Ours over the limit: the median over the rounds.
        unit: What limit and ours are in: seconds or bytes.
        target: The bound, in words; see `bounded`.
        met: Whether it is within the bound.
    """

    name: str
    title: str
    limit: float
    ours: float
    ratio: float
    unit: Unit = "s"
    target: str = "none"
    met: bool = True

    def bounded(self, bound: Bound | None) -> Row:
        """Return the row with a bound; None for a row without one."""
        if bound is None:
            return self
        if bound.of == "ratio":
            return attrs.evolve(self, target=f"<= {bound.at_most:g}x", met=self.ratio <= bound.at_most)
        return attrs.evolve(self, target=f"<= {amount(bound.at_most, self.unit)}", met=self.ours <= bound.at_most)


@attrs.frozen
class Rounds:
    """The times of the rounds of one row, in seconds, pair by pair."""

    limit: list[float]
    ours: list[float]

    @property
    def ratio(self) -> float:
        """The median of the ratios of neighbouring rounds, which run under the same load of the machine."""
        return statistics.median(ours / limit for ours, limit in zip(self.ours, self.limit, strict=True))

    def row(self, name: str, title: str, *, unit: Unit = "s") -> Row:
        """Return the row of the table, without a bound."""
        limit, ours = statistics.median(self.limit), statistics.median(self.ours)
        return Row(name=name, title=title, limit=limit, ours=ours, ratio=self.ratio, unit=unit)


def interleave(limit: Callable[[], float], ours: Callable[[], float], *, rounds: int) -> Rounds:
    """Alternate the two samples, which return their seconds. The first pair is discarded."""
    pairs = Rounds([], [])
    for number in range(rounds + 1):
        order = (limit, ours) if number % 2 else (ours, limit)
        taken: dict[Callable[[], float], float] = {}
        for sample in order:
            gc.collect()
            taken[sample] = sample()
        if number:
            pairs.limit.append(taken[limit])
            pairs.ours.append(taken[ours])
    return pairs


async def interleave_async(
    limit: Callable[[], Awaitable[float]], ours: Callable[[], Awaitable[float]], *, rounds: int
) -> Rounds:
    """Alternate samples as `interleave` does, in the running event loop."""
    pairs = Rounds([], [])
    for number in range(rounds + 1):
        order = (limit, ours) if number % 2 else (ours, limit)
        taken: dict[Callable[[], Awaitable[float]], float] = {}
        for sample in order:
            gc.collect()
            taken[sample] = await sample()
        if number:
            pairs.limit.append(taken[limit])
            pairs.ours.append(taken[ours])
    return pairs


@attrs.frozen
class Spent:
    """What some work took.

    Attributes:
        wall: Seconds that passed.
        cpu: Seconds of the processor's time of this process.
    """

    wall: float
    cpu: float


class Spending:
    """The wall and CPU times of two ways to do the same work, in the same rounds."""

    def __init__(self) -> None:
        self._spent: dict[str, list[Spent]] = {"limit": [], "ours": []}

    async def of(self, which: Literal["limit", "ours"], work: Awaitable[object]) -> float:
        """Do some work, and return the seconds that passed."""
        wall, cpu = time.perf_counter(), time.process_time()
        await work
        spent = Spent(time.perf_counter() - wall, time.process_time() - cpu)
        self._spent[which].append(spent)
        return spent.wall

    def rows(self, name: str, title: str) -> list[Row]:
        """Return a row for the wall time and one for the CPU time. The first round is not counted."""
        limit, ours = (self._spent[which][1:] for which in ("limit", "ours"))
        wall = Rounds([each.wall for each in limit], [each.wall for each in ours])
        cpu = Rounds([each.cpu for each in limit], [each.cpu for each in ours])
        return [wall.row(name, title), cpu.row(f"{name}cpu", f"{title}, CPU")]


def allow(seconds: float) -> None:
    """Let each row from now on take so many seconds."""
    global _allowed  # noqa: PLW0603
    _allowed = seconds


def run_bounded(work: Coroutine[Any, Any, T]) -> T:
    """Run a row in its own event loop, for no longer than is allowed."""

    async def bounded() -> T:
        return await asyncio.wait_for(work, _allowed)

    return asyncio.run(bounded())


def cores() -> tuple[int, int] | None:
    """Return a core for the server and another for the client; None if there is only one, or no choice."""
    if sys.platform != "linux":
        return None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[-1]) if len(usable) > 1 else None


def pin(core: int) -> None:
    """Pin this process to one core."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, {core})


@contextmanager
def all_cores() -> Generator[None, None, None]:
    """Let this process and its new children use every core, although it is pinned."""
    if sys.platform != "linux":
        yield
        return
    pinned = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _USABLE)
    try:
        yield
    finally:
        os.sched_setaffinity(0, pinned)


def table(rows: list[Row]) -> str:
    """Return the rows as text in columns."""
    lines = [("row", "work", "limit", "ours", "ratio", "target", "")]
    lines += [
        (
            row.name,
            row.title,
            amount(row.limit, row.unit),
            amount(row.ours, row.unit),
            f"{row.ratio:.2f}x",
            row.target,
            "ok" if row.met else "MISSED",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            # Words to the left, numbers to the right.
            cell.rjust(width) if column in (2, 3, 4) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def amount(value: float, unit: Unit) -> str:
    """Return a time or a size as text."""
    return seconds(value) if unit == "s" else f"{value / 1024 / 1024:.2f} MiB"


def seconds(value: float) -> str:
    """Return a time as text, in a suitable unit."""
    if value < 0.001:
        return f"{value * 1e6:.0f} us"
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"
