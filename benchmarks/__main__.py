"""The command line: ``python -m benchmarks [ROW …] [--runs N | --check] [--json FILE]``."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from arker.emulator.sandbox.base import IsolationUnavailableError
from benchmarks import server
from benchmarks.measure import BOUND, Row, allow, cores, pin, table
from benchmarks.repeated import Repeated, markdown
from benchmarks.rows import GROUPS, ROWS, Spec, chosen

CHECKS: Final = 3
"""How often a row is measured at most with ``--check``: the machine may have been busy once."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The client beside what is possible.")
    which = f"{', '.join(ROWS)}; or groups: {', '.join(GROUPS)}; or patterns as 'fleet*'; all unless named"
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which rows, of {which}")
    several = parser.add_mutually_exclusive_group()
    several.add_argument("--check", action="store_true", help="exit with 1 if a row is beyond its bound three times")
    several.add_argument("--runs", type=_count, metavar="N", help="measure all N times; print a table in Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    parser.add_argument(
        "--allow", type=float, default=BOUND, metavar="SECONDS", help="what a row may take (default: %(default)g)"
    )
    arguments = parser.parse_args()
    allow(arguments.allow)
    try:
        names = chosen(arguments.rows) if arguments.rows else list(ROWS)
    except ValueError as error:
        parser.error(str(error))

    pair = cores()
    rows: list[Row] = []
    left_out: dict[str, str] = {}
    too_long = False
    load = [_load()]
    # aiohttp makes its contexts when it is imported, which the modules of the rows do.
    os.environ["SSL_CERT_FILE"] = str(server.CERTIFICATE)
    with server.running() as base_urls, tempfile.TemporaryDirectory() as state:
        # Clients keep their ledger, as anywhere, but not the user's.
        os.environ["ARKER_LEDGER"] = os.path.join(state, "ledger.sqlite3")
        if pair is not None:
            pin(pair[1])
        # The whole table again and again: what keeps the machine busy for a minute spoils one run of a row, not all.
        for name in names * (arguments.runs or 1):
            try:
                rows += _measured(ROWS[name], base_urls, CHECKS if arguments.check else 1)
            except ModuleNotFoundError as error:
                left_out[name] = f"{error.name} is not installed"
            except IsolationUnavailableError as error:
                left_out[name] = str(error)
            except asyncio.TimeoutError:
                left_out[name] = f"it took more than {arguments.allow:g} s once"
                too_long = True
    load.append(_load())

    found = [row.name for row in rows]
    if arguments.runs is None:
        print(table(rows))
    else:
        repeated = _repeated(names, rows)
        rows = [each.median for each in repeated]
        print(markdown(repeated))
    where = "server and client on a core each" if pair is not None else "server and client share the cores"
    runs = f"{arguments.runs} runs of " if arguments.runs is not None else ""
    print(f"\nPython {platform.python_version()}, {where}; medians of {runs}interleaved rounds, judge the ratios only.")
    print(f"Load of the machine: {load[0]} at the start, {load[1]} at the end.")
    for name, reason in left_out.items():
        count = sum(each in ROWS[name].bounds for each in found)
        print(f"{name}: {'measured less often' if count else 'left out'}, {reason}", file=sys.stderr)
    beyond = [row.name for row in rows if not row.met]
    if beyond:
        print(f"Beyond their bounds: {', '.join(beyond)}.")
    if arguments.json is not None:
        report = {"python": platform.python_version(), "pinned": pair is not None, "rows": [*map(attrs.asdict, rows)]}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if arguments.check and (beyond or too_long) else 0


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError(text)
    return count


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def _repeated(names: Sequence[str], rows: Sequence[Row]) -> list[Repeated]:
    """Return the measurements row by row, in the order of the table."""
    repeated: list[Repeated] = []
    for spec in (ROWS[name] for name in names):
        for name, bound in spec.bounds.items():
            of_name = [row for row in rows if row.name == name]
            if of_name:
                repeated.append(Repeated(of_name, bound))
    return repeated


def _measured(spec: Spec, base_urls: tuple[str, str], times: int) -> Iterator[Row]:
    """Measure rows, until each was within its bound once, and return the best measurement of each."""
    function: Any = getattr(importlib.import_module(f"benchmarks.{spec.module}"), spec.function)
    best: dict[str, Row] = {}
    for _ in range(times):
        found: Row | list[Row] = function(base_urls[spec.tls], *spec.arguments)
        for row in found if isinstance(found, list) else [found]:
            bounded = row.bounded(spec.bounds[row.name])
            before = best.get(row.name)
            if before is None or (bounded.met, -bounded.ratio) > (before.met, -before.ratio):
                best[row.name] = bounded
            # The table comes at the end; this shows the progress.
            print(f"{row.name}: {row.ratio:.2f}x", file=sys.stderr)
        if all(row.met for row in best.values()):
            break
    yield from best.values()


if __name__ == "__main__":
    sys.exit(main())
