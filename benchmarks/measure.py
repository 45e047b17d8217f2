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
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, TypeVar

import attrs

T = TypeVar("T")
Unit: TypeAlias = Literal["s", "B"]

BOUND = 60.0
"""Seconds that one row may take: a benchmark that hangs must end."""

_USABLE = os.sched_getaffinity(0) if sys.platform == "linux" else set[int]()
"""The cores that this process may use, as of its start."""


@attrs.frozen(kw_only=True)
class Row:
    """A row of the table. Times are medians in seconds, amounts of memory in bytes.

    Attributes:
        name: Its name on the command line.
        title: A description of the measurement, for people.
        limit: The least cost of the work.
        ours: The cost through the client.
        ratio: Ours over the limit: the median over the rounds.
        target: The target, in words.
        met: Whether it was reached.
        unit: What limit and ours are in: seconds or bytes.
    """

    name: str
    title: str
    limit: float
    ours: float
    ratio: float
    target: str
    met: bool
    unit: Unit = "s"


@attrs.frozen
class Rounds:
    """The times of the rounds of one row, in seconds, pair by pair."""

    limit: list[float]
    ours: list[float]

    @property
    def ratio(self) -> float:
        """The median of the ratios of neighbouring rounds, which run under the same load of the machine."""
        return statistics.median(ours / limit for ours, limit in zip(self.ours, self.limit, strict=True))

    def row(self, name: str, title: str, *, at_most: float) -> Row:
        """Return the row of the table, with a target for the ratio."""
        ratio = self.ratio
        return Row(
            name=name,
            title=title,
            limit=statistics.median(self.limit),
            ours=statistics.median(self.ours),
            ratio=ratio,
            target=f"<= {at_most:g}x",
            met=ratio <= at_most,
        )


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


def run_bounded(work: Coroutine[Any, Any, T]) -> T:
    """Run a row in its own event loop, for no longer than `BOUND`."""

    async def bounded() -> T:
        return await asyncio.wait_for(work, BOUND)

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
