"""Test runs inside of tests: projects of their own, in which every warning is an error."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support.forked import fork_backends

ROOT = Path(__file__).parents[2]

CONFTEST = '''
import os
import time
import pytest

def connections(emulator):
    """How many sockets this process has that lead to the server. The table may name one twice while others come."""
    port = int(emulator.url.rsplit(":", 1)[1].split("/")[0])
    mine = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            mine.add(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            pass
    with open("/proc/self/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return len({f"socket:[{row[9]}]" for row in rows if int(row[2].split(":")[1], 16) == port} & mine)

@pytest.fixture
def counted(arker_emulator):
    def count(expected):
        """Return the number of open connections: a closed one may stay for a moment."""
        over = time.monotonic() + 30
        while (found := connections(arker_emulator)) != expected and time.monotonic() < over:
            time.sleep(0.005)
        return found
    return count

@pytest.fixture(autouse=True)
def nothing_stays_open(arker_emulator):
    yield
    assert connections(arker_emulator) == 0
'''

Run: TypeAlias = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the tests in a text. Uses pytest-asyncio, and all installed plugins, only if asked to.

    In this process, unless it matters what is imported when, or what ends with a process: a new one spends most of a
    second on the imports alone.
    """
    # The sources that are tested here, wherever the environment's installation comes from.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(
        tests: str,
        *arguments: str,
        conftest: str = CONFTEST,
        asyncio: bool = False,
        autoload: bool = False,
        apart: bool = False,
    ) -> pytest.RunResult:
        pytester.makeconftest(conftest)
        pytester.makepyfile(tests)
        plugins = ["-p", "arker_pytest"]
        if not autoload:
            # What else is installed takes most of the time of a small run.
            monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
            plugins += ["-p", "anyio.pytest_plugin"]
            plugins += ["-p", "pytest_asyncio.plugin"] if asyncio else []
        settings = ["-o", "asyncio_default_fixture_loop_scope=function"] if asyncio else ["-p", "no:asyncio"]
        every = [*plugins, "-W", "error", *settings, *arguments]
        if apart or autoload:
            return pytester.runpytest_subprocess(*every, timeout=300)
        fork_backends(monkeypatch)
        return pytester.runpytest_inprocess(*every)

    return run
