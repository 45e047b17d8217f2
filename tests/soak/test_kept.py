"""A backend with a state directory that is killed at any moment, under load: nothing that was answered is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from arker.emulator import EmulatorOptions
from arker.emulator._state import remove_state_dir
from arker.emulator.options import Isolation
from tests.emulator.server.conftest import place as place  # the fixture
from tests.emulator.server.support import ISOLATION, Api
from tests.soak.conftest import Soak
from tests.soak.kept import Worker
from tests.support.forked import ForkedEmulator
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

WORKERS = 3


async def round_of(options: EmulatorOptions, workers: list[Worker], rng: random.Random) -> None:
    """Check what is there, work for a moment, and kill the server."""
    async with ForkedEmulator(options) as emulator, aiohttp.ClientSession() as session:
        api = Api(session, emulator.url, emulator.api_key)
        expected = set[str]().union(*[await worker.check(api) for worker in workers])
        assert {vm["vm_id"] for vm in await api.list_all("/v1/vms", "vms", limit="1000")} == expected
        going = [asyncio.ensure_future(worker.work(api)) for worker in workers]
        await asyncio.sleep(rng.uniform(0.02, 1.5))
        pid = emulator.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*going)


async def rounds(place: Path, isolation: Isolation, count: int, rng: random.Random) -> None:
    options = EmulatorOptions(isolation=isolation, state_parent=place, state=place / "state")
    # Without isolation the root directory is that of the host, and what the VM has for one stands above its home.
    root = "~/../.." if isolation == "none" else "/"
    workers = [Worker(random.Random(rng.random()), root) for _ in range(WORKERS)]
    try:
        for _ in range(count):
            await round_of(options, workers, rng)
        # Without spare sandboxes, whose files are there as long as the server.
        async with ForkedEmulator(options, spares=0) as emulator, aiohttp.ClientSession() as session:
            api = Api(session, emulator.url, emulator.api_key)
            for worker in workers:
                await worker.check(api)
                for vm in worker.vms:
                    await api.delete(vm.vm_id)
            # What the servers before have left goes in the background, which a server that ends does not wait for.
            with suppress(AssertionError):
                await until(lambda: not os.listdir(place / "state" / "vms"))
            assert os.listdir(place / "state" / "vms") == [], "deletion has left files"
        assert list((place / "state" / "spool").iterdir()) == []
    finally:
        remove_state_dir(place / "state")


async def test_kills_at_any_moment_lose_nothing_that_was_answered(place: Path, soak: Soak) -> None:
    await rounds(place, ISOLATION, soak.times(50, at_least=3), soak.rng)


async def test_nor_without_isolation(place: Path, soak: Soak) -> None:
    await rounds(place, "none", soak.times(10), soak.rng)
