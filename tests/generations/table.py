"""Every operation of the client by the generations of the backend and the client's setting, as a page of the docs.

``python -m tests.generations.table`` compares the page with what happens; with ``--write`` it writes it anew.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import anyio

from arker import ArkerError, AsyncArker, BadRequestError, UnsupportedOperationError
from arker.emulator import Emulator, EmulatorOptions
from tests.generations import operations_files, operations_runs, operations_vms
from tests.generations.scenes import Operation, scene
from tests.support.forked import ForkedEmulator

PAGE: Final = Path(__file__).parents[2] / "docs" / "generations-table.md"
OPERATIONS: Final[Mapping[str, Operation]] = {
    operation.name: operation
    for operation in (*operations_vms.OPERATIONS, *operations_runs.OPERATIONS, *operations_files.OPERATIONS)
}
BACKENDS: Final = ("both", "0.5", "1")
SETTINGS: Final = ("auto", "1", "0.5")
WORKS: Final = "✓"

Place: TypeAlias = tuple[str, str, str]
"""An operation, the generation of the backend, and the client's setting."""

_PATIENCE: Final = 60.0
_PAGE: Final = """\
# Operations by generation

What becomes of each operation of the client, by what the server speaks and what `generation` of the client says
([Generations of the API](generations.md) explains both): observed, with the real client on the embedded backend,
whose option `generation` is `both`, `0.5` or `1`.

`✓` is a result that was looked at. Otherwise it is the class of the error; `✗` is `UnsupportedOperationError` after the
server's refusal, and `✗ 0` the same from the client alone: before anything was sent, or, where the setting does not fit
the server, after a fork of which the server ignored a part, and which was undone. The message names the generation that
lacks the operation and the way to do it instead.

{table}

The page is made by `python -m tests.generations.table --write`; without `--write` it is compared with what happens. The
test suite does that for a sample, `nox -s whole` for every cell.
"""


def places() -> list[Place]:
    """Return all cells."""
    return [(name, spoken, setting) for spoken in BACKENDS for setting in SETTINGS for name in OPERATIONS]


def wrong(place: Place, text: str) -> str | None:
    """Return what must not be of a cell, in words."""
    name, spoken, setting = place
    if text.startswith("!"):
        return f"{name}, backend {spoken}, client {setting}: {text}"
    if spoken == "both" and setting == "auto" and text != WORKS and name not in _NEVER:
        return f"{name}: a client as it is at first cannot do it on a backend as it is at first: {text}"
    return None


_NEVER: Final = {
    'ar.fork(layers=["disk", "memory"])',
    "ar.fork(policies=) of a schedule",
    "ar.fork(image=, registry_auth=)",
    "ar.fork(ssh_public_keys=)",
    "ar.fork(vgpu=)",
    "ar.fork(pool_name=)",
    "vm.run(signal=) of nothing",
    *(f"ar.{name}()" for name in ("list_pools", "create_pool", "get_pool", "update_pool", "delete_pool")),
    *(f"ar.{name}()" for name in ("list_pool_workers", "list_api_keys", "create_api_key", "revoke_api_key")),
}
"""What the embedded backend refuses in each generation."""


async def outcome(operation: Operation, emulator: Emulator, ar: AsyncArker) -> str:
    """Do an operation on a VM of its own, and return the text of its cell."""
    async with scene(emulator, ar) as tried:
        try:
            with anyio.fail_after(_PATIENCE):
                await operation.act(tried)
        except UnsupportedOperationError as error:
            return "✗" if error.status else "✗ 0"
        except BadRequestError as error:
            return f"! a bare {error.status}: {error}"
        except ArkerError as error:
            return type(error).__name__
        except Exception as error:
            return f"! {type(error).__name__}: {error}"
    return WORKS


@asynccontextmanager
async def _backend(spoken: str) -> AsyncGenerator[Emulator, None]:
    options: Any = {"generation": spoken}
    async with ForkedEmulator(EmulatorOptions(**options)) as emulator:
        yield emulator


async def find_out(wanted: Iterable[Place]) -> dict[Place, str]:
    """Fill cells in."""
    found: dict[Place, str] = {}
    every = list(wanted)
    for spoken in BACKENDS:
        if not any(place[1] == spoken for place in every):
            continue
        async with _backend(spoken) as emulator:
            for place in every:
                if place[1] == spoken:
                    setting: Any = place[2]
                    options: dict[str, Any] = {**emulator.client_options, "ledger": False, "generation": setting}
                    # A client of its own, which has not learnt anything yet.
                    async with AsyncArker(**options) as ar:
                        found[place] = await outcome(OPERATIONS[place[0]], emulator, ar)
    return found


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def render(cells: Mapping[Place, str]) -> str:
    """Render the page."""
    columns = [(spoken, setting) for spoken in BACKENDS for setting in SETTINGS]
    head = ["server, client:", *(f"{spoken}, {setting}" for spoken, setting in columns)]
    lines = [_line(head), _line(["---"] * len(head))]
    for name in OPERATIONS:
        lines.append(_line([f"`{name}`", *(cells.get((name, *column), "") for column in columns)]))
    return _PAGE.format(table="\n".join(lines))


def parse(page: str) -> dict[Place, str]:
    """Parse the cells of the page."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in re.findall(r"^\|.*\|$", page, re.MULTILINE)]
    head, _, *rest = rows
    columns = [tuple(cell.split(", ")) for cell in head[1:]]
    return {
        (row[0].strip("`"), column[0], column[1]): text
        for row in rest
        for column, text in zip(columns, row[1:], strict=True)
    }


def differences(found: Mapping[Place, str], page: str) -> list[str]:
    """Return what is wrong, and the differences from the page, in words."""
    known = parse(page)
    said = [text for place, cell in found.items() if (text := wrong(place, cell)) is not None]
    return said + [
        f"{', '.join(place)}: the page says {known.get(place, 'nothing')!r}, but it is {text!r}"
        for place, text in found.items()
        if known.get(place) != text
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.generations.table", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the page anew")
    write = bool(parser.parse_args().write)
    found = asyncio.run(find_out(places()))
    said = [text for place, cell in found.items() if (text := wrong(place, cell)) is not None]
    if write:
        PAGE.write_text(render(found), "utf-8")
    else:
        said = differences(found, PAGE.read_text("utf-8"))
    sys.stdout.write("".join(f"{line}\n" for line in [*said, f"{len(found)} cells"]))
    return int(bool(said))


if __name__ == "__main__":
    sys.exit(main())


__all__ = [
    "BACKENDS",
    "OPERATIONS",
    "PAGE",
    "SETTINGS",
    "WORKS",
    "Place",
    "differences",
    "find_out",
    "main",
    "outcome",
    "parse",
    "places",
    "render",
]
