"""The backend under work for a long time: nothing of what was used is left, and what is left does not grow."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from attrs import asdict, frozen

from arker.emulator import Emulator, EmulatorOptions
from tests.emulator.server.conftest import place as place  # the fixture
from tests.emulator.server.support import ISOLATION, Api, chunk, output
from tests.soak.conftest import Soak
from tests.support.forked import ForkedEmulator
from tests.support.leftovers import below

pytestmark = pytest.mark.anyio

VMS = 24
GROWTH = 72.0
"""MiB by which the server's memory may have grown between a warm-up and the end. Remembered are, for however long it
works, 5,000 requests of an organisation with up to 4 KiB of bodies (25 MiB), 20,000 requests without (20 MiB), and
10,000 commands and forks each (10 MiB); the rest is what the allocator keeps of the busiest moment."""


@frozen
class Usage:
    """What a server has at one moment."""

    processes: int
    descriptors: int
    directories: int
    threads: int
    memory_mib: float


def measure(pid: int, state: Path) -> Usage:
    process = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return Usage(
        processes=len(below(pid)),
        descriptors=len(os.listdir(process / "fd")),
        directories=sum(len(directories) for _, directories, _ in os.walk(state)),
        threads=int(status["Threads"]),
        memory_mib=round(int(status["VmRSS"].split()[0]) / 1024, 1),
    )


async def at_rest(pid: int, state: Path) -> Usage:
    """Return the usage once two readings, half a second apart, agree in everything except memory."""
    last: Usage | None = None
    with anyio.fail_after(30):
        while True:
            usage = measure(pid, state)
            if last is not None and asdict(usage) | {"memory_mib": 0} == asdict(last) | {"memory_mib": 0}:
                return usage
            last = usage
            await asyncio.sleep(0.5)


class Session:
    """A VM's life, again and again: each step checks what comes back."""

    def __init__(self, api: Api, rng: random.Random) -> None:
        self.api = api
        self.rng = rng
        self.lives = 0

    async def live(self, give_up: float) -> None:
        """Live once, and again until it is time to give up."""
        while True:
            vm = str((await self.api.fork())["vm_id"])
            steps = [self.command, self.files, self.background, self.sessions, self.child]
            for step in self.rng.sample(steps, self.rng.randint(1, len(steps))):
                await step(vm)
            await self.api.delete(vm)
            self.lives += 1
            if time.monotonic() >= give_up:
                return

    async def command(self, vm: str) -> None:
        number = self.rng.randrange(10**9)
        size = self.rng.choice([0, 100, 200_000])
        run = await self.api.run(vm, f"echo {number}; (sleep 600 &); head -c {size} /dev/zero; exit {number % 7}")
        assert run["state"] == "completed"
        assert run["exit_code"] == number % 7
        assert output(run) == f"{number}\n".encode() + bytes(size)

    async def files(self, vm: str) -> None:
        data = self.rng.randbytes(self.rng.choice([0, 10, 70_000, 300_000]))
        half = len(data) // 2
        upload = chunk("d/file", data)
        parts = [upload]
        if half:
            first = upload | {"content": base64.b64encode(data[:half]).decode(), "end": half}
            parts = [first, upload | {"content": base64.b64encode(data[half:]).decode(), "start": half}]
        results = await self.api.write(vm, *parts)
        assert results[-1]["written"] is True, results
        assert output(await self.api.read(vm, "d/file"), "content") == data

    async def background(self, vm: str) -> None:
        run = await self.api.background(vm, "trap '' TERM; (setsid sleep 600 &); echo up; sleep 600")
        await self.api.printed(vm, run, "up")
        reply = await self.api.call("DELETE", f"/v1/vms/{vm}/runs/{run}")
        assert reply.json == {"cancelled": True}
        assert (await self.api.get_run(vm, run))["state"] == "cancelled"

    async def sessions(self, vm: str) -> None:
        body: dict[str, Any] = {"cwd": "/tmp", "env": {"A": "b"}}
        reply = await self.api.call("POST", f"/v1/vms/{vm}/sessions", body)
        assert reply.status == 200, reply
        session = reply.json["session_id"]
        assert (await self.api.run(vm, "echo $PWD $A", session_id=session))["stdout"] == "/tmp b\n"
        assert (await self.api.call("DELETE", f"/v1/vms/{vm}/sessions/{session}")).json == {"deleted": True}

    async def child(self, vm: str) -> None:
        await self.api.run(vm, "echo parent > who")
        child = (await self.api.fork(source_vm_id=vm))["vm_id"]
        assert (await self.api.run(child, "cat who"))["stdout"] == "parent\n"
        await self.api.delete(child)


@pytest.fixture
async def emulator(place: Path) -> AsyncIterator[Emulator]:
    # Without spare sandboxes, which come and go by themselves: each process is a VM's.
    async with ForkedEmulator(EmulatorOptions(isolation=ISOLATION, state_parent=place, spares=0)) as emulator:
        yield emulator


async def test_many_vms_at_work_leave_nothing(emulator: Emulator, place: Path, soak: Soak) -> None:
    (state,) = place.iterdir()
    pid = emulator.pid
    assert pid is not None
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=VMS)) as session:
        api = Api(session, emulator.url, emulator.api_key)
        vms = soak.times(VMS, at_least=8)
        sessions = [Session(api, random.Random(soak.rng.random())) for _ in range(vms)]

        async def work(seconds: float) -> int:
            give_up = time.monotonic() + seconds
            before = sum(each.lives for each in sessions)
            await asyncio.gather(*[each.live(give_up) for each in sessions])
            return sum(each.lives for each in sessions) - before

        # The warm-up opens the connections and starts the threads that stay.
        warmed = await work(soak.seconds(20))
        before = await at_rest(pid, state)
        lives = await work(soak.seconds(120))
        after = await at_rest(pid, state)
    print(f"{warmed} + {lives} lives of VMs")
    for name, value in asdict(before).items():
        print(f"{name:12} {value:10} {asdict(after)[name]:10}")
    assert lives >= vms
    assert after.processes == before.processes == 0
    assert after.descriptors <= before.descriptors
    assert after.directories == before.directories
    # The pool for blocking calls starts its threads as they are needed: one for each processor and four.
    assert after.threads <= 1 + min(32, (os.cpu_count() or 1) + 4) + 1
    assert after.memory_mib <= before.memory_mib + GROWTH


async def test_idle_vms_cost_little(emulator: Emulator, soak: Soak) -> None:
    """50 VMs that have each run something, which may have a GiB together with the server."""
    number = soak.times(50, at_least=10)
    pid = emulator.pid
    assert pid is not None
    async with aiohttp.ClientSession() as session:
        api = Api(session, emulator.url, emulator.api_key)
        vms = [str((await api.fork())["vm_id"]) for _ in range(number)]
        for vm in vms:
            assert (await api.run(vm, "true"))["exit_code"] == 0
        await asyncio.sleep(0.2)
        pids = below(pid)
        assert len(pids) >= number
        total = sum(map(memory_of, pids | {pid}))
        print(f"{total / 2**20:.0f} MiB, {(total - memory_of(pid)) / number / 2**20:.1f} MiB for each VM")
        assert total < 2**30 * number / 50
        await emulator.areset()


def memory_of(pid: int) -> int:
    """Bytes: a process's share of memory; where it may not be read, all that it has, shared with others or not."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except PermissionError:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):  # it has just gone
        pass
    return 0
