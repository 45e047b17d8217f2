"""The example on a Dask cluster, of which a worker is killed in the middle."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from arker_sync import Arker
from tests.soak.conftest import Soak
from tests.support import forked
from tests.support.forked import ForkedEmulator

ROOT = Path(__file__).parents[2]
OUTCOMES = ("crashed", "out of time", "passed", "wrong")


def inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("ARKER_", "AUTH_KEY"))}


def run(*arguments: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-W", "error", *arguments]
    environment = {**inherited(), **environment}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def test_a_worker_that_is_killed_costs_its_candidates_a_retry(soak: Soak, tmp_path: Path) -> None:
    each = soak.times(50, at_least=2)  # 200 VMs in all
    arguments = ["--vms", str(4 * each), "--workers", "2", "--time-limit", str(max(3, soak.seconds(60))), "--kill"]
    with ForkedEmulator() as emulator:
        environment = {
            "ARKER_API_KEY": emulator.api_key,
            "ARKER_BASE_URL": emulator.url,
            "ARKER_CONTROL_BASE_URL": emulator.url,
            "ARKER_LEDGER": str(tmp_path / "ledger.sqlite3"),
            "DASK_TEMPORARY_DIRECTORY": str(tmp_path),
        }
        first, second = run("examples/dask_evaluation.py", *arguments, environment=environment).splitlines()
        print(first, second, sep="\n")
        results = json.dumps(dict.fromkeys(OUTCOMES, each))
        assert first == f"{4 * each} candidates: {results}"
        reaped = re.fullmatch("VMs of a worker that was killed, deleted by reap: ([0-9]+)", second)
        assert reaped is not None
        assert int(reaped[1]) >= 1  # the one that the worker had prepared
        # Those of a worker that was still starting at the end.
        done = forked.run("module", "arker.__main__", "reap", env={**inherited(), **environment})
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        with Arker(emulator.api_key, base_url=emulator.url, control_base_url=emulator.url, ledger=False) as client:
            assert client.list_vms().vms == ()
