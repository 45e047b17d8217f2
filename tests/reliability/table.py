"""The matrix as Markdown, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

from tests.reliability.failures import FAILURES
from tests.reliability.operations import OPERATIONS, Named, Operation
from tests.reliability.play import ATTEMPTS
from tests.reliability.rules import Cell

PAGE: Final = Path(__file__).parents[2] / "docs" / "matrix.md"

Place: TypeAlias = tuple[str, str, bool]
"""Where a cell is: its operation, its fault, and whether that hits every time."""

_SHORT: Final[Mapping[str, str]] = {
    "UnavailableError": "Unav",
    "GatewayTimeoutError": "Gate",
    "RateLimitedError": "Rate",
    "ResourcePressureError": "Press",
    "InternalError": "Int",
    "BadReplyError": "Bad",
    "NetworkError": "Net",
    "NetworkTimeoutError": "Time",
    "ConflictError": "Conf",
    "ForbiddenError": "Forb",
}
_MARKS: Final = {"not_started": "", "unknown": "?", "applied": "!"}
_NAMES: Final[Mapping[Named, str]] = {"key": "key", "vm": "VM", "run": "run"}
_TITLES: Final = {False: "One request is hit", True: "Every request is hit"}
_NONE: Final = "·"

_PAGE: Final = """\
# Operations and faults

What becomes of each operation of the client when something goes wrong on the way: observed, with the real client on a
real [embedded backend](emulator.md) that was told to misbehave. Each cell tells what the server did and
what the client said:

- The number is how often the operation's effect was there afterwards: commands that were started, VMs that were made,
  objects that were made or were gone, files with the right content. Operations that only read have none.
- `✓` is a result, and it was looked at: output, content and ids were right. Otherwise it is the class of the error,
  with what its `outcome` says: nothing for `not_started`, `?` for `unknown`, `!` for `applied`.
- All errors of an operation carry what stands under *errors name*: `idempotency_key`, `vm_id`, `run_id`.

Errors: {errors}.

The client makes {attempts} attempts. A large file takes three requests to write and two to read; each has a row of its
own, and the requests that are hit are those with the row's name.

| fault | meaning |
| --- | --- |
{legend}

{tables}
## What holds for every cell

The cells are held against rules that are made of the contract alone, and do not look at the client
(`tests/reliability/rules.py`). Every result is right, and every exception is an `ArkerError`. No run, no fork and no
file is done twice. A result means that it was done; `not_started` never stands beside an effect, nor `applied` beside
none. One fault that the contract lets the client overcome is overcome, and leaves one effect. A POST that creates
something else is not sent again when its reply was lost, and its error says `unknown`.

The one thing that can be there more than once: a session or a tunnel, when a gateway answers 502 or 504 although it was
made. The contract lets anything be sent again after these answers; a server that heeds the key that every attempt
carries makes one, but the embedded backend does not heed it there.

The page is made by `python -m tests.reliability.matrix --write`; without `--write` it is compared with what happens.
The test suite does that for some forty cells, with each operation and each fault among them, `nox -s soak` for all of
them. It also lets thousands of random programs loose on a server that fails one request in twenty
(`tests/reliability/programs.py`): afterwards no command was started twice, no result or file is lost, and no VM, task
or connection is left that neither a program nor an error knows.
"""


def places() -> list[Place]:
    """Return all cells."""
    return [
        (operation.name, failure.name, always)
        for always in (False, True)
        for operation in OPERATIONS
        for failure in FAILURES
        if failure.concerns(operation)
    ]


def short(cell: Cell) -> str:
    """Return a cell's text."""
    done = "" if cell.effects is None else f"{cell.effects} "
    if cell.outcome is not None:
        return f"{done}{_SHORT.get(cell.error, cell.error)}{_MARKS[cell.outcome]}"
    return f"{done}{'✓' if cell.verdict == 'result' else f'**{cell.verdict} {cell.error}**'}"


def _names(operation: Operation) -> str:
    return ", ".join(text for name, text in _NAMES.items() if name in operation.names) or _NONE


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(cells: Mapping[Place, str], *, always: bool) -> str:
    head = ["operation", "errors name", *(failure.name for failure in FAILURES)]
    lines = [_line(head), _line(["---"] * len(head))]
    for operation in OPERATIONS:
        row = [cells.get((operation.name, failure.name, always), _NONE) for failure in FAILURES]
        lines.append(_line([operation.name, _names(operation), *row]))
    return "\n".join(lines)


def render(cells: Mapping[Place, str]) -> str:
    """Render the whole page."""
    legend = "\n".join(f"| {failure.name} | {failure.meaning} |" for failure in FAILURES)
    errors = ", ".join(f"`{short}` {name}" for name, short in _SHORT.items())
    tables = "\n".join(f"## {title}\n\n{_table(cells, always=always)}\n" for always, title in _TITLES.items())
    return _PAGE.format(errors=errors, attempts=ATTEMPTS, legend=legend, tables=tables)


def parse(page: str) -> dict[Place, str]:
    """Parse the cells of a page."""
    found: dict[Place, str] = {}
    for always, title in _TITLES.items():
        section = re.search(rf"^## {title}\n\n(.*?)\n\n", page, re.DOTALL | re.MULTILINE)
        if section is None:
            continue
        head, _, *rows = [[part.strip() for part in line.split("|")[1:-1]] for line in section[1].splitlines()]
        for name, _, *texts in rows:
            found |= {(name, failure, always): text for failure, text in zip(head[2:], texts, strict=True)}
    return {place: text for place, text in found.items() if text != _NONE}


__all__ = ["PAGE", "Place", "parse", "places", "render", "short"]
