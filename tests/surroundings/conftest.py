"""One embedded backend for the programs of these tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from arker.emulator import Emulator
from tests.support import forked

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
"""Seconds that a program may take on a machine that has much else to do."""


@pytest.fixture
def run_program(arker_emulator: Emulator) -> Callable[..., list[str]]:
    """Run a module of these tests in a separate process in which every warning is an error. Returns its output.

    A new one has loaded none of the packages yet: it is for what a library changes in modules that are loaded later.
    """

    def run(module: str, *words: str, new: bool) -> list[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ARKER_", "AUTH_KEY"))}
        environment = {
            **inherited,
            "PYTHONPATH": str(ROOT),
            "ARKER_LEDGER": "off",
            "ARKER_API_KEY": arker_emulator.api_key,
            **{f"ARKER_{name}BASE_URL": arker_emulator.url for name in ("", "BURST_", "CONTROL_")},
        }
        name = f"tests.surroundings.{module}"
        if new:
            command = [sys.executable, "-W", "error", "-m", name, *words]
            result = subprocess.run(
                command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        else:
            result = forked.run("module", name, *words, env=environment, timeout=PATIENCE)
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stderr == ""
        return result.stdout.splitlines()

    return run
