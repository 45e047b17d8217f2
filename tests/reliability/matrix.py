"""Fills the matrix of operations and faults in: ``python -m tests.reliability.matrix [--write]``."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Iterable
from typing import Final

import anyio
from attrs import define, field

from tests.reliability.failures import FAILURES
from tests.reliability.operations import OPERATIONS
from tests.reliability.play import playing
from tests.reliability.rules import violations
from tests.reliability.table import PAGE, Place, parse, places, render, short

_OPERATIONS: Final = {operation.name: operation for operation in OPERATIONS}
_FAILURES: Final = {failure.name: failure for failure in FAILURES}


@define
class Findings:
    """What happened.

    Attributes:
        cells: The cells' texts.
        violations: What must not be, in words.
    """

    cells: dict[Place, str] = field(factory=dict[Place, str])
    violations: list[str] = field(factory=list[str])


def describe(place: Place) -> str:
    """Describe a place in words."""
    operation, failure, always = place
    return f"{operation}, {failure}, {'every request' if always else 'one request'}"


async def find_out(wanted: Iterable[Place]) -> Findings:
    """Fill cells in."""
    findings = Findings()

    async def fill(some: list[Place]) -> None:
        async with playing() as player:
            for place in some:
                operation, failure, always = _OPERATIONS[place[0]], _FAILURES[place[1]], place[2]
                cell = await player.play(operation, failure, always=always)
                findings.cells[place] = short(cell)
                findings.violations += [
                    f"{describe(place)}: {what}" for what in violations(operation, failure, cell, always=always)
                ]

    every = list(wanted)
    async with anyio.create_task_group() as group:
        # Those in which the server is silent take their time and no work.
        for silent in (True, False):
            group.start_soon(fill, [place for place in every if _FAILURES[place[1]].silent is silent])
    return findings


def some(share: float, rng: random.Random) -> list[Place]:
    """Choose a share of all cells, with each operation and each fault at least once."""
    every = places()
    if share >= 1:
        return every
    rng.shuffle(every)
    chosen: list[Place] = []
    seen: set[str] = set()
    for place in every:
        if not {place[0], place[1]} <= seen:
            chosen.append(place)
            seen |= {place[0], place[1]}
    rest = [place for place in every if place not in set(chosen)]
    return chosen + rest[: max(0, round(len(every) * share) - len(chosen))]


def differences(found: dict[Place, str], page: str) -> list[str]:
    """Return the differences from the page."""
    known = parse(page)
    return [
        f"{describe(place)}: the page says {known.get(place, 'nothing')!r}, but it is {text!r}"
        for place, text in found.items()
        if known.get(place) != text
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.matrix", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the page anew")
    write = bool(parser.parse_args().write)
    findings = asyncio.run(find_out(places()))
    page = PAGE.read_text("utf-8") if PAGE.exists() else ""
    wrong = findings.violations + differences(findings.cells, page)
    sys.stdout.write("".join(f"{line}\n" for line in [*wrong, f"{len(findings.cells)} cells"]))
    if write:
        PAGE.write_text(render(findings.cells), "utf-8")
        return int(bool(findings.violations))
    return int(bool(wrong) or page != render(findings.cells))


if __name__ == "__main__":
    sys.exit(main())


__all__ = ["Findings", "describe", "differences", "find_out", "main", "some"]
