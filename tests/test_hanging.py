"""A test that hangs: the suite's settings end it, and say which it is and what all threads were doing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# The thread is where its stack shows it before any test begins.
BESIDE = """
import threading

there, never = threading.Event(), threading.Event()

def wait_beside():
    there.set()
    never.wait()

threading.Thread(target=wait_beside, daemon=True).start()
there.wait()
"""

BLOCKED = """
def test_that_hangs():
    never.wait()
"""

SUSPENDED = """
import asyncio
import pytest

@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
@pytest.mark.parametrize("name", ["first"])
async def test_that_hangs(name):
    await asyncio.Event().wait()
"""

# The interpreter's lock is held all the time, so that no other thread of Python's runs.
BUSY = """
import re
import pytest

@pytest.fixture
def clean_up():
    yield
    re.match("(a+)+$", 60 * "a" + "b")

def test_that_hangs(clean_up):
    pass
"""


def run_pytest(place: Path, *words: str) -> str:
    """Run pytest with the suite's own settings, and with a short bound. Returns what it prints."""
    settings = ["-c", str(ROOT / "pyproject.toml"), f"--rootdir={place}", "-o", "faulthandler_timeout=1"]
    # Nothing else is loaded into the processes that are started again and again.
    plugins = ["-p", "xdist", "-p", "anyio", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *settings, *plugins, *words],
        cwd=place,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    return done.stdout


def test_it_ends_and_is_named_though_nothing_else_runs_in_its_process(tmp_path: Path) -> None:
    (tmp_path / "test_suspended.py").write_text(BESIDE + SUSPENDED)
    (tmp_path / "test_busy.py").write_text(BESIDE + BUSY)
    # One after the other, so that their stacks are not mixed up.
    printed = run_pytest(tmp_path, "-n", "1", "test_suspended.py", "test_busy.py")
    for name in ("test_suspended.py::test_that_hangs[first]", "test_busy.py::test_that_hangs"):
        assert f"crashed while running '{name}'" in printed, printed
    assert printed.count("Timeout (0:00:01)!") == 2, printed
    assert printed.count("in wait_beside") >= 2, printed


def test_it_ends_without_workers_too(tmp_path: Path) -> None:
    (tmp_path / "test_blocked.py").write_text(BESIDE + BLOCKED)
    printed = run_pytest(tmp_path, "-n", "0", "test_blocked.py")
    assert "Timeout (0:00:01)!" in printed, printed
    assert "in wait_beside" in printed, printed


@pytest.mark.parametrize(
    ("setting", "value"), [("faulthandler_timeout", r"\d{3}"), ("faulthandler_exit_on_timeout", "true")]
)
def test_the_suite_has_the_bound(setting: str, value: str) -> None:
    settings = (ROOT / "pyproject.toml").read_text().partition("[tool.pytest.ini_options]\n")[2]
    assert re.search(rf"^{setting} = {value}$", settings, re.MULTILINE)
