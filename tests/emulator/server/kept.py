"""Backends on a state directory: run, refused, started by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
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


_BACKEND = '"$0" -m arker.emulator --isolation none --state-parent "$2" --state "$1"'


@contextmanager
def started_on_a_small_disk(
    state: Path, *, between: str | None = None
) -> Generator[tuple[subprocess.Popen[bytes], Any]]:
    """Start a backend by hand whose state directory is a small file system, and its sandboxes on another.

    Args:
        state: The state directory.
        between: A command of the shell for when it has ended, after which another one is started. ``$1`` is the state
            directory.
    """
    state.mkdir()
    lines = ['mount -t tmpfs -o size=12m,mode=711 none "$1" || exit 9']
    if between is not None:
        lines += [_BACKEND, between]
    program = "\n".join([*lines, f"exec {_BACKEND}"])
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", program, sys.executable]
    with started([*command, str(state), str(state.parent)]) as (process, said):
        yield process, said


def start_of_the_next(process: subprocess.Popen[bytes], ends: signal.Signals) -> Any:
    """End the first of two such backends by a signal. Returns the first line that the second one prints."""
    (server,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(server), ends)
    assert process.stdout is not None
    return json.loads(next(line for line in process.stdout if line.startswith(b"{")))


__all__ = [
    "DATABASE",
    "ROOT",
    "content",
    "options",
    "refused",
    "running",
    "start_of_the_next",
    "started",
    "started_on_a_small_disk",
]
