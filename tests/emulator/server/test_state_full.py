"""A state directory on a disk that is full when a backend starts: what was there can be deleted with it."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from arker.emulator._state import StateDir
from arker.emulator.sandbox.base import SandboxError, SandboxProvider
from arker.emulator.sandbox.pressure import DISK_FULL
from arker.emulator.server import service as module
from arker.emulator.server.service import Service, base_url
from tests.emulator.server.kept import options, start_of_the_next, started_on_a_small_disk
from tests.emulator.server.support import Api, output

pytestmark = pytest.mark.anyio


async def test_what_fills_it_after_an_orderly_end(state: Path) -> None:
    """The log of changes is removed at such an end, and takes room again at the next start."""
    with started_on_a_small_disk(state, between='cat /dev/zero > "$1/of_others" 2>&-') as (process, said):
        async with aiohttp.ClientSession() as session:
            api = Api(session, said["url"], said["api_key"])
            await api.run((await api.fork(name="kept"))["vm_id"], "echo content > file")
            large = (await api.fork())["vm_id"]
            await api.run(large, "head -c 1000000 /dev/urandom > file")
        said = start_of_the_next(process, signal.SIGTERM)
        async with aiohttp.ClientSession() as session:
            api = Api(session, said["url"], said["api_key"])
            await api.delete(large)
            assert output(await api.run("kept", "cat file")) == b"content\n"


async def test_the_first_sandbox_has_the_room_that_is_in_reserve(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve, opened = state / "reserve", module.open_provider

    async def open_provider(*arguments: Any, **named: Any) -> SandboxProvider:
        """Open it as on a disk on which that takes a tenth of the reserve."""
        if reserve.stat().st_size > whole * 0.9:
            raise SandboxError("resource_pressure", DISK_FULL)
        return await opened(*arguments, **named)

    monkeypatch.setattr(module, "open_provider", open_provider)
    whole = 1024 * 1024
    directory = StateDir(state.parent)
    service = Service(
        options(state, "none"), api_key="a-key", state_dir=directory.path, sock=socket.create_server(("127.0.0.1", 0))
    )
    try:
        with pytest.warns(UserWarning, match="isolation is off"):
            await service.start()
        async with aiohttp.ClientSession() as client:
            await Api(client, base_url(service.origin), "a-key").fork()  # a change fills the reserve again
        assert reserve.stat().st_size == whole
    finally:
        await service.close()
        directory.remove()
