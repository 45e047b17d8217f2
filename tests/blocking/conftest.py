"""Both clients on one embedded backend, by the fixtures of the package's pytest plugin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from arker import AsyncArker
from arker.emulator import Emulator
from arker_sync import Arker
from arker_sync._bridge.lease import Lease


@pytest.fixture
def emulator(arker_emulator: Emulator) -> Emulator:
    return arker_emulator


@pytest.fixture
def ar(arker: AsyncArker) -> AsyncArker:
    """Return the async client."""
    return arker


@pytest.fixture
def blocking(arker_sync: Arker) -> Arker:
    """Return the blocking client."""
    return arker_sync


@pytest.fixture
def lease(emulator: Emulator) -> Iterator[Lease]:
    client = AsyncArker(**emulator.client_options)
    lease = Lease(client)
    yield lease
    lease.call(client.aclose())
    lease.release()
