"""Servers and programs that are killed at any moment, under load: nothing of them is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from arker.emulator import Emulator, EmulatorOptions
from arker.emulator.options import Isolation
from tests.emulator.sandbox.support import until
from tests.emulator.server.conftest import place as place  # the fixture
from tests.emulator.server.support import ISOLATION, Api, chunk
from tests.emulator.server.test_leftovers import PARENT, PATIENCE, ROOT
from tests.soak.conftest import Soak
from tests.support.leftovers import alive, below, mounts_with, with_text

pytestmark = pytest.mark.anyio


async def load(url: str, key: str, rng: random.Random) -> None:
    """Work until the server is not there any more."""
    async with aiohttp.ClientSession() as session:
        api = Api(session, url, key)

        async def work() -> None:
            while True:
                vm = (await api.fork())["vm_id"]
                await api.background(vm, "trap '' TERM HUP INT; (setsid sleep 600 &); sleep 600")
                await api.write(vm, *[chunk(f"f{number}", bytes(rng.randrange(200_000))) for number in range(3)])
                await api.fork(source_vm_id=vm)

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(_until_cut, work)


async def _until_cut(work: Any) -> None:
    with contextlib.suppress(aiohttp.ClientError):
        await work()


def port_of(url: str) -> int:
    return int(url[:-4].rpartition(":")[2])


async def require_nothing(url: str, pids: set[int], place: Path) -> None:
    # The server as well: the kernel closes what a killed process held one after the other, the connections before the
    # port, and only then makes it a zombie.
    await until(lambda: not alive(pids), PATIENCE)
    assert mounts_with(str(place)) == []
    assert is_refused(port_of(url))


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


async def kill_server(place: Path, isolation: Isolation, rng: random.Random) -> None:
    """Kill the server only. The parent lives on, and closes."""
    async with Emulator(EmulatorOptions(isolation=isolation, state_parent=place)) as emulator:
        pid = emulator.pid
        assert pid is not None
        worker = asyncio.ensure_future(load(emulator.url, emulator.api_key, rng))
        await asyncio.sleep(rng.uniform(0, 0.8))
        os.kill(pid, signal.SIGSTOP)  # so that what is there now is seen whole
        pids = below(pid) | {pid}
        os.kill(pid, signal.SIGKILL)
        await worker
        await require_nothing(emulator.url, pids, place)
    assert list(place.iterdir()) == []


async def kill_both(place: Path, isolation: Isolation, rng: random.Random) -> None:
    """Kill the parent at the same moment, as the end of a terminal or of a job does."""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, isolation, str(place)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert parent.stdout is not None
    said = json.loads(await parent.stdout.readline())
    worker = asyncio.ensure_future(load(said["url"], said["api_key"], rng))
    await asyncio.sleep(rng.uniform(0, 0.8))
    os.kill(said["pid"], signal.SIGSTOP)
    pids = below(said["pid"]) | {said["pid"]}
    parent.kill()
    os.kill(said["pid"], signal.SIGKILL)
    await parent.communicate()
    await worker
    await require_nothing(said["url"], pids, place)
    await until(lambda: list(place.iterdir()) == [], PATIENCE)
    await until(lambda: with_text(str(place)) == set(), PATIENCE)


async def test_kills_at_any_moment_leave_nothing(place: Path, soak: Soak) -> None:
    kinds = [(kill, isolation) for kill in (kill_server, kill_both) for isolation in (ISOLATION, "none")]
    for number in range(soak.times(100)):
        kill, isolation = kinds[number % 4] if number < 4 else kinds[soak.rng.choice([0, 0, 0, 1, 2, 3])]
        await kill(place, "none" if isolation == "none" else ISOLATION, random.Random(soak.rng.random()))
