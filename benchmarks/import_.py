"""Row ``import``: the wall time of importing the client above bare Python, beside that of ``import aiohttp``.

Deferred imports cost time later, so the title shows the total with asyncio and a first client.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from benchmarks.measure import Row, interleave

NAME: Final = "import"
ROUNDS: Final = 9
IMPORT: Final = "from arker import AsyncArker"
FIRST_CLIENT: Final = f"import asyncio; {IMPORT}; AsyncArker('key', region='us-west-2', ledger=False)"


def measure(base_url: str) -> Row:
    del base_url  # nothing is asked of a server
    with tempfile.TemporaryDirectory() as compiled:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        # Bytecode as an installed package has it, whether or not this environment lets it be written in place.
        environment["PYTHONPYCACHEPREFIX"] = compiled
        environment["PYTHONPATH"] = str(Path(__file__).parent.parent)

        def start(program: str) -> float:
            started = time.perf_counter()
            with subprocess.Popen([sys.executable, "-c", program], env=environment) as process:
                # The timeout of subprocess looks at the clock every so often, which would round the time up.
                watchdog = threading.Timer(30, process.kill)
                watchdog.start()
                failed = process.wait()
                taken = time.perf_counter() - started
                watchdog.cancel()
            if failed:
                raise RuntimeError(f"{program!r} ended with status {failed}")
            return taken

        bare: list[float] = []

        def above_bare(program: str) -> float:
            bare.append(start("pass"))
            return start(program) - bare[-1]

        first: list[float] = []

        def client() -> float:
            first.append(above_bare(FIRST_CLIENT))
            return above_bare(IMPORT)

        rounds = interleave(lambda: above_bare("import aiohttp"), client, rounds=ROUNDS)
    extra = f"{statistics.median(bare) * 1000:.0f} ms; with a client made: {statistics.median(first) * 1000:.0f} ms"
    return rounds.row(NAME, f"import, above bare Python ({extra}); limit: aiohttp's")
