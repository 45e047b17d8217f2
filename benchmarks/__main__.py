"""The command line: ``python -m benchmarks [ROW …] [--check] [--json FILE]``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from arker.emulator.sandbox.base import IsolationUnavailableError
from benchmarks import server
from benchmarks.measure import Row, cores, pin, table
from benchmarks.rows import ROWS, Spec

CHECKS: Final = 3
"""How often a row is measured at most with ``--check``: the machine may have been busy once."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The client beside what is possible.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which rows, of {', '.join(ROWS)}; all unless named")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a row is beyond its bound three times")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    arguments = parser.parse_args()
    names: list[str] = arguments.rows or list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")

    chosen = cores()
    rows: list[Row] = []
    # aiohttp makes its contexts when it is imported, which the modules of the rows do.
    os.environ["SSL_CERT_FILE"] = str(server.CERTIFICATE)
    with server.running() as base_urls, tempfile.TemporaryDirectory() as state:
        # Clients keep their ledger, as anywhere, but not the user's.
        os.environ["ARKER_LEDGER"] = os.path.join(state, "ledger.sqlite3")
        if chosen is not None:
            pin(chosen[1])
        for name in names:
            try:
                rows += list(_measured(ROWS[name], base_urls, CHECKS if arguments.check else 1))
            except ModuleNotFoundError as error:
                print(f"{name}: left out, {error.name} is not installed", file=sys.stderr)
            except IsolationUnavailableError as error:
                print(f"{name}: left out, {error}", file=sys.stderr)
    print(table(rows))
    where = "server and client on a core each" if chosen is not None else "server and client share the cores"
    print(f"\nPython {platform.python_version()}, {where}; medians of interleaved rounds, judge the ratios only")
    beyond = [row.name for row in rows if not row.met]
    if beyond:
        print(f"beyond their bounds: {', '.join(beyond)}")
    if arguments.json is not None:
        report = {"python": platform.python_version(), "pinned": chosen is not None, "rows": [*map(attrs.asdict, rows)]}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if arguments.check and beyond else 0


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
