"""What a server leaves asleep that is killed amid the start of a sandbox: the next one ends it, and nothing else."""

# ruff: noqa: ASYNC220 - nothing else runs on the loop while these tests block it

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from arker.emulator import Emulator
from arker.emulator.sandbox.bubblewrap.arguments import candidates
from arker.emulator.sandbox.bubblewrap.identity import spare_identity
from arker.emulator.sandbox.bubblewrap.orphans import is_orphan
from arker.emulator.sandbox.host.process_tree import Started, has_ended, launched_by
from arker.emulator.sandbox.host.source import LOADER
from tests.emulator.sandbox.support import parent_of, state_of, until
from tests.emulator.server.support import Api
from tests.support.children import child
from tests.support.waiting import block_until

pytestmark = pytest.mark.anyio

WRAPPER = """#!/bin/sh
# Starts bwrap; while there is a file beside this one, so that it has to tell a full pipe of its child before it lets
# that go on.
[ -e "$0.armed" ] || exec {bwrap} "$@"
exec {bwrap} --info-fd 2 "$@" 2<>"$0.pipe"
"""


@pytest.fixture
def wrapper() -> Iterator[Path]:
    """Return a program that starts bwrap, in a directory that VMs' users can enter."""
    place = Path(tempfile.mkdtemp(prefix="arker-sandbox-"))
    place.chmod(0o755)
    path = place / "bin" / "bwrap"
    path.parent.mkdir()
    bwrap = next(candidates(place / "copied", spare_identity()))
    path.write_text(WRAPPER.format(bwrap=shlex.quote(str(bwrap))))
    path.chmod(0o755)
    os.mkfifo(f"{path}.pipe")
    os.chmod(f"{path}.pipe", 0o666)
    pipe = os.open(f"{path}.pipe", os.O_RDWR | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while os.write(pipe, bytes(65536)):
            pass
    yield path
    with contextlib.suppress(BlockingIOError):  # let those go on that are still there
        while os.read(pipe, 65536):
            pass
    block_until(lambda: not holders(path))
    os.close(pipe)
    shutil.rmtree(place)


def holders(wrapper: Path) -> list[int]:
    """Return the first processes of bwraps that were started while they had to stay."""
    found: list[int] = []
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if place.name.isdigit() and os.readlink(place / "fd/2") == f"{wrapper}.pipe":
                found.append(int(place.name))
    return found


def waiting(wrapper: Path) -> list[Started]:
    """Return the second processes of them, where these wait."""
    return [second for pid in holders(wrapper) for second in launched_by(pid) if state_of(second.pid) == "S"]


async def test_the_next_server_ends_them(wrapper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = spare_identity()
    uid = os.geteuid() if identity is None else identity.uid
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    armed = wrapper.with_name("bwrap.armed")
    async with aiohttp.ClientSession() as session:
        with Emulator(isolation="bubblewrap", state_parent=wrapper.parents[1], spares=0) as emulator:
            api = Api(session, emulator.url, emulator.api_key)
            armed.touch()
            run = asyncio.create_task(api.run((await api.fork())["vm_id"], "true"))
            await until(lambda: bool(waiting(wrapper)))
            left = waiting(wrapper)
            assert not any(is_orphan(process.pid, uid) for process in left)
            launchers = {parent_of(process.pid) for process in left}
            assert emulator.pid is not None
            os.kill(emulator.pid, signal.SIGKILL)
            await until(lambda: not any(parent_of(process.pid) in launchers for process in left))
            await asyncio.gather(run, return_exceptions=True)
    armed.unlink()
    with Emulator(isolation="bubblewrap", state_parent=wrapper.parents[1]):
        await until(lambda: all(map(has_ended, left)))


async def test_those_of_others_stay(wrapper: Path) -> None:
    wrapper.with_name("bwrap.armed").touch()
    command = [str(wrapper), "--unshare-user", "--die-with-parent", "--dev-bind", "/", "/", "--", "/bin/true"]
    with subprocess.Popen(command) as process:
        await until(lambda: bool(waiting(wrapper)))
        (other,) = waiting(wrapper)
        process.kill()
    try:
        await until(lambda: parent_of(other.pid) != process.pid)
        assert not is_orphan(other.pid, os.geteuid())
        assert not has_ended(other)
    finally:
        os.kill(other.pid, signal.SIGKILL)


SLEEPER = """
import os, sys
event = os.eventfd(0)
if sys.argv[1] == "write":
    os.eventfd_write(event, 2**64 - 2)  # as many as it holds: the next number has no room
os.write(1, b"up")
if sys.argv[1] == "write":
    os.eventfd_write(event, 1)
os.eventfd_read(event)
"""
NUMBERS = {"x86_64": {"read": "0", "write": "1"}, "aarch64": {"read": "63", "write": "64"}}


@pytest.mark.skipif(platform.machine() not in NUMBERS, reason="nothing is ended on other processors")
@pytest.mark.parametrize(("call", "expected"), [("read", True), ("write", False)])
async def test_only_one_that_waits_to_go_on_is_ended(tmp_path: Path, call: str, expected: bool) -> None:
    program = tmp_path / "bwrap"
    shutil.copy(os.path.realpath(sys.executable), program)
    # Like one of ours in all but what it waits for.
    with child([program, "-I", "-S", "-c", SLEEPER, call, LOADER], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(2) == b"up"
        waits = f"{NUMBERS[platform.machine()][call]} "
        await until(lambda: Path(f"/proc/{process.pid}/syscall").read_text().startswith(waits))
        assert is_orphan(process.pid, os.geteuid()) is expected
        process.kill()
