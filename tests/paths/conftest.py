"""The client on a real embedded backend, by the fixtures that the package gives to everybody."""

from __future__ import annotations

import pytest

from arker import AsyncArker, AsyncVM
from arker.emulator import Emulator


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def emulator(arker_emulator: Emulator) -> Emulator:
    return arker_emulator


@pytest.fixture
def ar(arker: AsyncArker) -> AsyncArker:
    return arker


@pytest.fixture
async def vm(ar: AsyncArker) -> AsyncVM:
    return await ar.fork("ubuntu")
