"""Processes on the host: started as another user, and waited for."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

import pytest

from arker.emulator.sandbox.bubblewrap.identity import UserOptions, becoming, spare_identity, ways_to_start
from arker.emulator.sandbox.host.process_tree import wait_until
from tests.emulator.sandbox.support import descriptors

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["told", "looked for"])
def _told(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system tell when a process ends, and then not."""
    if request.param == "looked for":
        monkeypatch.setattr(sys, "platform", "other")


@pytest.mark.usefixtures("_told")
async def test_the_end_of_a_process_is_waited_for() -> None:
    before = descriptors()
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:  # noqa: ASYNC220
        assert process.stdin is not None

        def ended() -> bool:
            return process.poll() is not None

        assert not await wait_until(ended, process.pid, 0)
        assert not await wait_until(ended, process.pid, 0.02)
        waiting = asyncio.create_task(wait_until(ended, process.pid, None))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        waiting = asyncio.create_task(wait_until(ended, process.pid, 20))
        process.stdin.close()
        assert await waiting
        assert await wait_until(ended, process.pid, 0), "it has ended already"
    assert descriptors() <= before


@pytest.mark.usefixtures("_told")
async def test_a_process_that_another_one_collects_is_waited_for() -> None:
    looks = 0

    def ended() -> bool:
        nonlocal looks
        looks += 1
        return looks > 4

    with subprocess.Popen(["/bin/true"]) as process:  # noqa: ASYNC220
        assert await wait_until(ended, process.pid, 20)


def _said(starter: Sequence[str], options: UserOptions) -> str:
    command = [*starter, "/bin/sh", "-c", "id -u; id -g; id -G; exec grep CapEff /proc/self/status"]
    return str(subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout)


def test_a_program_is_started_as_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    found = spare_identity()
    if found is None:
        assert os.geteuid() != 0, "only root becomes another user"
        assert _said((), {}).startswith(f"{os.geteuid()}\n{os.getegid()}\n")
        return
    starter, options = ways_to_start(found)
    assert bool(starter) is not bool(options)
    expected = f"{found.uid}\n{found.gid}\n{found.gid}\nCapEff:\t{0:016x}\n"
    assert _said(starter, options) == expected

    def other(name: str, path: str) -> str:
        assert (name, path) == ("setpriv", "/usr/bin:/bin")
        return "/bin/false"

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "which", other)
        becoming.cache_clear()
        starter, options = ways_to_start(found)
    becoming.cache_clear()
    assert starter == ()
    assert _said(starter, options) == expected


def test_a_server_of_an_ordinary_user_starts_programs_as_itself() -> None:
    assert ways_to_start(None) == ((), {})
