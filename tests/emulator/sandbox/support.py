"""What the sandbox's tests share: running a command to its end, files by path, and a look at the host's processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from arker.emulator.sandbox.base import HOME, RunExit, RunSpec, Sandbox
from arker.emulator.sandbox.host.run import AgentRun
from tests.support.waiting import PATIENCE

FIRST_THREAD_ENDED = """
import ctypes, threading, time
def work():
    while True:
        with open("alive", "a") as file:
            file.write("x")
        time.sleep(0.01)
threading.Thread(target=work).start()
ctypes.CDLL(None).pthread_exit(None)
"""
"""A program that goes on, although for the system it looks like one that has ended."""


@frozen
class Ended:
    exit: RunExit
    stdout: bytes
    stderr: bytes

    @property
    def code(self) -> int | None:
        return self.exit.exit_code

    @property
    def text(self) -> str:
        return self.stdout.decode().strip()


async def sh(
    sandbox: Sandbox, command: str, *, cwd: str = HOME, env: Mapping[str, str] | None = None, timeout: float = PATIENCE
) -> Ended:
    """Run a command and wait for its end; a test that waits longer has failed."""
    run = await sandbox.run(RunSpec(command=command, cwd=cwd, env=env or {}))
    ended = await asyncio.wait_for(run.wait(), timeout)
    stdout, stderr = run.stdout(), run.stderr()
    assert isinstance(stdout, bytes)
    assert isinstance(stderr, bytes)
    return Ended(ended, stdout, stderr)


async def rest_after(sandbox: Sandbox, command: str) -> None:
    """Run a command, and wait until nothing is left of it: what looks after it lives a moment longer."""
    run = await sandbox.run(RunSpec(command=command))
    assert isinstance(run, AgentRun)
    assert (await asyncio.wait_for(run.wait(), PATIENCE)).exit_code == 0
    await asyncio.wait_for(run.wait_gone(), PATIENCE)


async def read(sandbox: Sandbox, path: str) -> bytes:
    reader = await sandbox.open_read(path)
    try:
        with os.fdopen(os.dup(reader.fd), "rb") as file:
            content = file.read()
        assert len(content) >= reader.size  # more when something is writing to it
        return content
    finally:
        reader.close()


async def write(sandbox: Sandbox, path: str, content: bytes) -> None:
    writer = await sandbox.open_write(path, len(content))
    with os.fdopen(os.dup(writer.fd), "wb") as file:
        file.write(content)
    await writer.commit()


async def until(condition: Callable[[], bool], timeout: float = PATIENCE) -> float:
    """Wait for a condition; gives the seconds that it took."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < timeout, "it never happened"
        await asyncio.sleep(0.002)
    return time.monotonic() - begin


def host_processes(marker: str) -> list[int]:
    """Return processes of the whole machine with ``marker`` in their command line, without zombies."""
    found: list[int] = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                if marker.encode() in (place / "cmdline").read_bytes():
                    found.append(int(place.name))
            except OSError:
                continue
    return found


def state_of(pid: int) -> str:
    """Return the letter of a process's state, or X if it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has gone
        return 0


def children(name: str) -> list[int]:
    """Return the processes with this name that the tests' process has started."""
    found: list[int] = []
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        with contextlib.suppress(OSError):  # a thread has collected it
            if Path(f"/proc/{pid}/comm").read_text() == f"{name}\n":
                found.append(int(pid))
    return found


def descriptors() -> set[tuple[str, str]]:
    """Return the descriptors that this process has open, each by its number and by what it leads to.

    A test compares them by ``<=``: what others have left may be closed meanwhile, when the garbage is collected.
    """
    found: set[tuple[str, str]] = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            found.add((name, os.readlink(f"/proc/self/fd/{name}")))
    return found


async def kill_vms() -> None:
    """End the processes of every VM that the tests' process has started, from outside: from inside, the agent lives."""

    def none_left() -> bool:
        left = children("bwrap")
        for pid in left:  # a spare sandbox may have been started meanwhile
            os.killpg(pid, signal.SIGKILL)
        return left == []

    await until(none_left)


def unique_seconds() -> str:
    """Return an argument for ``sleep`` that no other process uses."""
    return f"{1000 + time.monotonic_ns() % 10**9 / 10**9:.9f}"
