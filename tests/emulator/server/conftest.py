"""One server for the whole of these tests, and a client of it for each."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from arker.emulator import Emulator, EmulatorOptions
from arker.emulator._state import remove_state_dir
from tests.emulator.server.support import ISOLATION, OTHER_KEY, OTHER_ORG, Api
from tests.support.forked import ForkedEmulator


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    options = EmulatorOptions(isolation=ISOLATION, organisations={OTHER_ORG: OTHER_KEY})
    with ForkedEmulator(options) as emulator:
        yield emulator


@contextmanager
def new_place() -> Generator[Path, None, None]:
    """Return a directory for state directories. None of them may be left in it.

    VMs of a root server run as another user, who could not enter ``tmp_path``.
    """
    path = Path(tempfile.mkdtemp(prefix="arker-test-"))
    path.chmod(0o711)
    yield path
    assert list(path.iterdir()) == []
    path.rmdir()


@pytest.fixture
def place() -> Iterator[Path]:
    """See `new_place`."""
    with new_place() as path:
        yield path


@pytest.fixture
def state() -> Iterator[Path]:
    """Return where a state directory may be made. It goes afterwards, and nothing is left beside it."""
    with new_place() as place:
        try:
            yield place / "state"
        finally:
            remove_state_dir(place / "state")


@pytest.fixture
async def api(emulator: Emulator) -> AsyncIterator[Api]:
    """Return the server's own organisation. Its VMs are deleted afterwards."""
    async with aiohttp.ClientSession() as session:
        api = Api(session, emulator.url, emulator.api_key)
        yield api
        for vm in await api.list_all("/v1/vms", "vms", limit="1000"):
            await api.delete(vm["vm_id"])


@pytest.fixture
async def other(emulator: Emulator) -> AsyncIterator[Api]:
    """Return another organisation."""
    async with aiohttp.ClientSession() as session:
        other = Api(session, emulator.url, OTHER_KEY)
        yield other
        for vm in await other.list_all("/v1/vms", "vms", limit="1000"):
            await other.delete(vm["vm_id"])


@pytest.fixture
async def vm(api: Api) -> str:
    """Return a new VM's id."""
    return str((await api.fork())["vm_id"])


@pytest.fixture
def mark(emulator: Emulator) -> int:
    """Return the number of the latest request before the test."""
    return max([entry.seq for entry in emulator.journal.requests()], default=0)
