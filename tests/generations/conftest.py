"""Backends of single generations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from arker.emulator import Emulator, EmulatorOptions
from tests.generations.wire import Wire
from tests.support.forked import ForkedEmulator

WINDOW = 1.0
"""Seconds after which a run in the foreground goes on in the background."""
OTHER_KEY = "other-organisation-key"


@pytest.fixture(scope="session")
def generation_1() -> Iterator[Emulator]:
    """Return a backend that speaks generation 1 only."""
    options = EmulatorOptions(generation="1", foreground_window=WINDOW, organisations={"org_other": OTHER_KEY})
    with ForkedEmulator(options) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def both() -> Iterator[Emulator]:
    """Return a backend that speaks both."""
    with ForkedEmulator(EmulatorOptions(generation="both", foreground_window=WINDOW)) as emulator:
        yield emulator


@pytest.fixture
async def wire(generation_1: Emulator) -> AsyncIterator[Wire]:
    """Return a raw client of the backend of generation 1, which is cleared before."""
    await generation_1.areset()
    async with aiohttp.ClientSession() as session:
        yield Wire(session, generation_1.url, generation_1.api_key)
