"""A server of each generation for the whole of these tests, and a client of it for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from arker.emulator import Emulator
from tests.emulator.server.support import ISOLATION, OTHER_KEY, OTHER_ORG, Api
from tests.support.forked import ForkedEmulator

WINDOW = 0.5
"""Seconds after which the hasty servers answer a run that goes on."""


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, Emulator]]:
    """Return a dictionary for servers, which are started at their first use."""
    started: dict[str, Emulator] = {}
    yield started
    for emulator in started.values():
        emulator.close()


async def _client(servers: dict[str, Emulator], generation: str, window: float = 300) -> AsyncIterator[Api]:
    name = f"{generation} {window}"
    if name not in servers:
        servers[name] = ForkedEmulator(
            isolation=ISOLATION,
            generation=generation,
            foreground_window=window,
            organisations={OTHER_ORG: OTHER_KEY},
        )
        await servers[name].__aenter__()
    emulator = servers[name]
    async with aiohttp.ClientSession() as session:
        yield Api(session, emulator.url, emulator.api_key, emulator.options.generation)
    await emulator.areset()


@pytest.fixture
async def old(servers: dict[str, Emulator]) -> AsyncIterator[Api]:
    """Return a client of a server of generation 0.5."""
    async for api in _client(servers, "0.5"):
        yield api


@pytest.fixture
async def new(servers: dict[str, Emulator]) -> AsyncIterator[Api]:
    """Return a client of a server of generation 1."""
    async for api in _client(servers, "1"):
        yield api


@pytest.fixture
async def both(servers: dict[str, Emulator]) -> AsyncIterator[Api]:
    """Return a client of a server of both."""
    async for api in _client(servers, "both"):
        yield api


@pytest.fixture(params=["both", "1"])
async def today(request: pytest.FixtureRequest, servers: dict[str, Emulator]) -> AsyncIterator[Api]:
    """Return a client of each server that speaks generation 1."""
    async for api in _client(servers, request.param):
        yield api


@pytest.fixture(params=["both", "0.5", "1"])
async def hasty(request: pytest.FixtureRequest, servers: dict[str, Emulator]) -> AsyncIterator[Api]:
    """Return a client of each server that waits no longer than `WINDOW` for a run."""
    async for api in _client(servers, request.param, WINDOW):
        yield api


@pytest.fixture(params=["both", "0.5", "1"])
async def each(request: pytest.FixtureRequest, servers: dict[str, Emulator]) -> AsyncIterator[Api]:
    """Return a client of each server."""
    async for api in _client(servers, request.param):
        yield api
