"""A scripted cloud, and a client of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from arker import AsyncArker, AsyncFleet
from tests.support.cloud import Cloud
from tests.support.server import ScriptedServer


@pytest.fixture
def cloud(server: ScriptedServer) -> Cloud:
    return Cloud(server)


@pytest.fixture
async def fleet(client: AsyncArker, cloud: Cloud) -> AsyncIterator[AsyncFleet]:
    """Three VMs."""
    async with client.fork_many("ubuntu", 3) as fleet:
        yield fleet
    assert not cloud.living
    assert not [task for task in asyncio.all_tasks() if "arker" in repr(task.get_coro())]
