"""Backends on a state directory: run, refused, started by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from arker.emulator import EmulatorOptions
from arker.emulator.options import Isolation
from arker.errors import EmulatorError, StateDirectoryError
from tests.emulator.server.support import ISOLATION, Api
from tests.support.forked import ForkedEmulator

ROOT = str(Path(__file__).parents[3])
DATABASE = "records.sqlite3"


def options(state: Path, isolation: Isolation = ISOLATION, **more: Any) -> EmulatorOptions:
    return EmulatorOptions(isolation=isolation, state_parent=state.parent, state=state, **more)


@asynccontextmanager
async def running(state: Path, *, kill: bool = False, **more: Any) -> AsyncGenerator[Api]:
    """Run a backend on the directory, and end it; or kill it, as a machine does that has no memory left."""
    async with ForkedEmulator(options(state, **more)) as emulator, aiohttp.ClientSession() as session:
        yield Api(session, emulator.url, emulator.api_key)
        if kill:
            assert emulator.pid is not None
            os.kill(emulator.pid, signal.SIGKILL)


async def refused(state: Path, reason: str, words: str, **more: Any) -> None:
    with pytest.raises(StateDirectoryError, match=words) as caught:
        async with ForkedEmulator(options(state, **more)):
            pass
    assert isinstance(caught.value, EmulatorError)
    assert (caught.value.reason, caught.value.path) == (reason, str(state))


def content(state: Path) -> dict[str, bytes]:
    """Return the database and VMs' files."""
    found = [path for path in state.rglob("*") if path.name in {"file", DATABASE}]
    return {str(path): path.read_bytes() for path in found}


@contextmanager
def started(command: list[str]) -> Generator[tuple[subprocess.Popen[bytes], Any]]:
    """Start a backend by hand. Returns its process, and the first line that it prints."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            line = process.stdout.readline()
            assert line, process.stderr.read().decode()
            yield process, json.loads(line)
        finally:
            process.terminate()


__all__ = ["DATABASE", "ROOT", "content", "options", "refused", "running", "started"]
