"""The client on a real embedded backend: one server for these tests, a client for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from arker import AsyncArker, AsyncVM
from arker.emulator import Emulator


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
async def ar(emulator: Emulator) -> AsyncIterator[AsyncArker]:
    """A client; the VMs that a test leaves are deleted after it."""
    async with AsyncArker(**emulator.client_options) as ar:
        yield ar
        for left in await ar.list_vms(limit=1000):
            await ar.vm(left.vm_id).delete()


@pytest.fixture
async def vm(ar: AsyncArker) -> AsyncVM:
    return await ar.fork("ubuntu")
