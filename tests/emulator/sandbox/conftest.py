"""A provider for each test file and a VM for each test; afterwards no process and no file of them is left."""

from __future__ import annotations

import gc
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from arker.emulator.sandbox.host.machine import Limits
from arker.emulator.sandbox.host.sandbox import AgentSandbox
from tests.emulator.sandbox.support import children

_numbers = itertools.count()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a state directory. It is not below ``tmp_path``: the user of a root server's VMs cannot enter that."""
    path = Path(tempfile.mkdtemp(prefix="arker-sandbox-"))
    yield path
    assert os.listdir(path) == []
    path.rmdir()


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[BubblewrapProvider]:
    path = Path(tempfile.mkdtemp(prefix="arker-sandbox-"))
    provider = await BubblewrapProvider.open(path)
    yield provider
    await provider.close()
    assert os.listdir(path) == []
    os.rmdir(path)
    assert children("bwrap") == []


@pytest.fixture
async def vm(provider: BubblewrapProvider) -> AsyncIterator[AgentSandbox]:
    vm = await provider.create(f"vm-{next(_numbers)}")
    yield vm
    await vm.delete()


@pytest.fixture
async def vm_alone(provider: BubblewrapProvider, place: Path) -> AsyncIterator[AgentSandbox]:
    """Return a VM of a provider without spare sandboxes: no descriptors of this process come or go but the VM's."""
    await provider.spares.let_go()  # those of the other tests' provider
    gc.collect()
    own = await BubblewrapProvider.open(place, Limits(spares=0))
    await own.spares.let_go()  # the one that showed that isolation works may still be ending
    yield await own.create("alone")
    await own.close()


@pytest.fixture
async def other_vm(provider: BubblewrapProvider) -> AsyncIterator[AgentSandbox]:
    vm = await provider.create(f"other-{next(_numbers)}")
    yield vm
    await vm.delete()
