"""Faults of connections to terminals, whose reply is a handshake."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import anyio
import pytest

from arker.emulator import Emulator
from tests.emulator.server.support import Api
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.fixture
async def session(emulator: Emulator, api: Api, vm: str) -> str:
    """Return the path of a new session."""
    assert emulator.faults.list() == ()
    made = await api.call("POST", f"/v1/vms/{vm}/sessions", {"env": {"PS1": "$ "}})
    return f"/v1/vms/{vm}/sessions/{made.json['session_id']}"


def connect(api: Api, session: str) -> Any:
    return api.session.ws_connect(f"{api.url}{session}/pty", headers={"Authorization": f"Bearer {api.key}"})


async def running(api: Api, session: str) -> None:
    """Wait until something goes on in a session."""
    while (await api.get(session))["state"] != "running":
        await asyncio.sleep(0.01)


async def usable(api: Api, session: str) -> None:
    """Check that the terminal which a fault has left can be attached to."""
    async with connect(api, session) as socket:
        await socket.send_bytes(b"echo wor''ks; exit\n")
        seen = b"".join([message.data async for message in socket])
        assert b"works\r\n" in seen
        assert socket.close_code == 1000


@pytest.mark.parametrize(("fault", "status"), [("error", 503), ("garbage", 200)])
async def test_a_reply_in_place_of_the_handshake(
    emulator: Emulator, api: Api, session: str, fault: str, status: int
) -> None:
    """The terminal has been started, and no connection is attached to it."""
    with getattr(emulator.faults, fault)(operation="attach_pty", processed=True) as set_fault:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await connect(api, session)
        assert caught.value.status == status
        entry = emulator.journal.requests()[-1]
        assert (entry.status, entry.processed) == (status, True)
    assert set_fault.fired == 1
    await running(api, session)
    await usable(api, session)


@pytest.mark.parametrize("reset", [False, True])
async def test_the_end_in_place_of_the_handshake(emulator: Emulator, api: Api, session: str, reset: bool) -> None:
    with (
        emulator.faults.close(operation="attach_pty", moment="after", reset=reset, times=2),
        pytest.raises(aiohttp.ClientError),
    ):  # aiohttp sends a GET again
        await connect(api, session)
    await running(api, session)
    await usable(api, session)


@pytest.mark.parametrize("fault", ["stall", "delay"])
async def test_a_handshake_that_is_held_back(emulator: Emulator, api: Api, session: str, fault: str) -> None:
    options = {"seconds": 600.0} if fault == "delay" else {}
    with getattr(emulator.faults, fault)(operation="attach_pty", processed=True, **options):
        connecting = asyncio.ensure_future(connect(api, session))
        await running(api, session)
        await api.run(session.split("/")[3], "sleep 0.2")  # a handshake that is not held back comes meanwhile
        assert not connecting.done()
        connecting.cancel()
        await asyncio.wait([connecting])
        assert connecting.cancelled()


@pytest.mark.parametrize("fault", ["truncate", "close"])
async def test_a_connection_that_is_cut(emulator: Emulator, api: Api, session: str, fault: str) -> None:
    options: dict[str, Any] = {"moment": "during", "seconds": 0.2} if fault == "close" else {}
    with getattr(emulator.faults, fault)(operation="attach_pty", **options):
        async with connect(api, session) as socket:
            with anyio.fail_after(PATIENCE):
                seen = [message async for message in socket]
            assert socket.close_code == 1006, seen
    await usable(api, session)
