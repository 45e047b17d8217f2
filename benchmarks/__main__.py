"""The command line: ``python -m benchmarks [ROW …] [--json FILE]``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Final, Protocol, cast

import attrs

from arker.emulator.sandbox.base import IsolationUnavailableError
from benchmarks import server
from benchmarks.measure import Row, cores, pin, table

ROWS: Final = {
    "call": "call",
    "fanout": "fanout",
    "fleet": "fleet",
    "import": "import_",
    "page": "page",
    "inline": "inline",
    "inlineread": "inline:measure_read",
    "sync": "blocking",
    "threads": "threads",
    "upload": "upload:measure_memory",
    "uploadfile": "upload:measure_file",
    "download": "download:measure_memory",
    "downloadfile": "download:measure_file",
    "many": "many",
    "cappedup": "capped:measure_up",
    "cappeddown": "capped:measure_down",
    "vmfork": "vmfork",
    "vmrun": "vmrun",
    "runenv": "vmruns:measure_env",
    "runkill": "vmruns:measure_kill",
    "runsatonce": "vmruns:measure_at_once",
    "ptyecho": "terminals:measure_echo",
    "ptyflow": "terminals:measure_flow",
    "vmstat": "vmfiles:measure_stat",
    "vmlistdir": "vmfiles:measure_listdir",
    "vmwarm": "vmwarm",
    "vmstart": "vmstart",
    "vmlarge": "vmlarge",
    "vmcrowd": "vmcrowd",
    "vmidle": "vmidle",
    "vmwalls": "vmwalls",
}
"""Names of the rows, and the module of each, in the table's order; with a function's name, unless that is `measure`."""


class _Measure(Protocol):
    def __call__(self, base_url: str, /) -> Row:
        """Measure a row with the loopback server at this base URL."""
        ...


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The client beside what is possible.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which rows, of {', '.join(ROWS)}; all unless named")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    arguments = parser.parse_args()
    names: list[str] = arguments.rows or list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")

    chosen = cores()
    rows: list[Row] = []
    with server.running() as base_url, tempfile.TemporaryDirectory() as state:
        # Clients keep their ledger, as anywhere, but not the user's.
        os.environ["ARKER_LEDGER"] = os.path.join(state, "ledger.sqlite3")
        if chosen is not None:
            pin(chosen[1])
        for name in names:
            try:
                place, _, function = ROWS[name].partition(":")
                module = importlib.import_module(f"benchmarks.{place}")
            except ModuleNotFoundError as error:
                print(f"{name}: left out, {error.name} is not installed", file=sys.stderr)
                continue
            try:
                rows.append(cast("_Measure", getattr(module, function or "measure"))(base_url))
            except IsolationUnavailableError as error:
                print(f"{name}: left out, {error}", file=sys.stderr)
                continue
            # The table comes at the end; this shows the progress.
            print(f"{name}: {rows[-1].ratio:.2f}x", file=sys.stderr)
    print(table(rows))
    where = "server and client on a core each" if chosen is not None else "server and client share the cores"
    print(f"\nPython {platform.python_version()}, {where}; medians of interleaved rounds, judge the ratios only")
    if arguments.json is not None:
        report = {"python": platform.python_version(), "pinned": chosen is not None, "rows": [*map(attrs.asdict, rows)]}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
