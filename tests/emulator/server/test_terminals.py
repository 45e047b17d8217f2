"""Terminals over the wire: tickets, WebSockets and their frames, detaching, replay, limits and errors."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from arker.emulator import EmulatorOptions
from arker.emulator.server.operations.terminals import PER_VM
from arker.emulator.server.terminal import REPLAY
from tests.emulator.server.support import ISOLATION, Api, chunk
from tests.support.forked import ForkedEmulator

pytestmark = pytest.mark.anyio


@pytest.fixture
async def session(api: Api, vm: str) -> str:
    """Return the path of a new session."""
    made = await api.call("POST", f"/v1/vms/{vm}/sessions", {"env": {"PS1": "$ "}})
    return f"/v1/vms/{vm}/sessions/{made.json['session_id']}"


async def ticket(api: Api, session: str) -> str:
    return str((await api.call("POST", f"{session}/pty-ticket", {})).json["ticket"])


class Wire:
    """An open WebSocket, and what came over it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self.socket = socket
        self.seen = bytearray()
        self.ended: tuple[int, str] | None = None

    async def step(self) -> bool:
        message: Any = await asyncio.wait_for(self.socket.receive(), 60)
        if message.type is aiohttp.WSMsgType.BINARY:
            self.seen += message.data
            return True
        assert message.type is aiohttp.WSMsgType.CLOSE, message
        self.ended = (message.data, message.extra)
        return False

    async def until(self, text: bytes) -> None:
        while text not in self.seen:
            assert await self.step(), (self.seen, self.ended)

    async def end(self) -> tuple[int, str]:
        while await self.step():
            pass
        assert self.ended is not None
        return self.ended

    async def type(self, text: bytes) -> None:
        await self.socket.send_bytes(text)


@asynccontextmanager
async def attached(api: Api, session: str, **query: str | int) -> AsyncGenerator[Wire, None]:
    """Attach by a ticket, without the API key."""
    parameters = {"ticket": await ticket(api, session), **query}
    async with (
        aiohttp.ClientSession() as plain,
        plain.ws_connect(api.url + session + "/pty", params=parameters) as socket,
    ):
        yield Wire(socket)


async def refused(api: Api, session: str, *, key: str | None = None, **query: str | int) -> tuple[int, Any]:
    """Return the status and the error of a handshake that is refused."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    headers |= {} if key is None else {"Authorization": f"Bearer {key}"}
    async with api.session.get(api.url + session + "/pty", params=query, headers=headers) as reply:
        return reply.status, (await reply.json())["error"]


async def settled(api: Api, session: str) -> None:
    """Wait until nothing goes on in a session."""
    while (await api.get(session))["state"] != "idle":
        await asyncio.sleep(0.01)


async def test_a_shell(api: Api, session: str) -> None:
    async with attached(api, session, cols=90, rows=33) as wire:
        await wire.type(b"stty size; echo $TERM $PWD\n")
        await wire.until(b"33 90\r\nxterm-256color /home/user\r\n")
        await wire.socket.send_str('{"type": "resize", "cols": 100, "rows": 40}')
        await wire.socket.send_str('{"type": "ping"}')
        await wire.type(b"stty size; exit 3\n")
        assert await wire.end() == (1000, "exit_code=3")
        assert b"40 100" in wire.seen
    await settled(api, session)


async def test_an_api_key_does_as_well(api: Api, session: str) -> None:
    headers = {"Authorization": f"Bearer {api.key}"}
    async with api.session.ws_connect(api.url + session + "/pty", headers=headers) as socket:
        wire = Wire(socket)
        await wire.type(b"exit\n")
        assert await wire.end() == (1000, "exit_code=0")


async def test_closing_detaches_and_opening_replays(api: Api, session: str) -> None:
    async with attached(api, session) as wire:
        await wire.type(b"value=kept; echo fir''st\n")
        await wire.until(b"first\r\n")
        await wire.type(b"sleep 0.2; echo sec''ond\n")
    vm = session.split("/sessions/")[0]
    busy = await api.call("POST", f"{vm}/runs", {"command": "true", "session_id": session.rpartition("/")[2]})
    assert (busy.refusal, busy.details) == ((409, "resource_busy"), {"resource": "session"})
    assert (await api.get(session))["state"] == "running"
    assert (await api.get(vm))["state"] == "running"
    async with attached(api, session, cols=50) as wire:
        await wire.until(b"second\r\n")
        assert b"first\r\n" in wire.seen
        await wire.type(b"stty size; echo $value; exit\n")
        await wire.until(b"24 50\r\nkept\r\n")
        assert await wire.end() == (1000, "exit_code=0")
    await settled(api, session)
    async with attached(api, session) as wire:  # it is over: this is a new one
        await wire.type(b"echo -$value-; exit\n")
        await wire.end()
        assert b"\r--\r\n" in wire.seen


@pytest.mark.parametrize("persist", ["true", "false"])
async def test_one_that_was_closed_can_be_opened_at_once(api: Api, session: str, persist: str) -> None:
    path = f"{api.url}{session}/pty?ticket={await ticket(api, session)}&persist={persist}"
    async with aiohttp.ClientSession() as plain:
        for number in range(10):
            wire = Wire(await plain.ws_connect(path))
            if persist == "true":
                for line in range(number):
                    await wire.until(f"line {line}\r\n".encode())
            await wire.type(b"echo li''ne %d\n" % number)
            await wire.until(b"line %d\r\n" % number)
            assert persist == "true" or wire.seen.count(b"\rline ") == 1
            await wire.socket.close()


async def test_what_was_typed_before_comes_first(api: Api, vm: str, session: str) -> None:
    path = f"{api.url}{session}/pty?ticket={await ticket(api, session)}"
    async with aiohttp.ClientSession() as plain:
        wire = Wire(await plain.ws_connect(path))
        await wire.type(b"stty -echo; mkfifo go; echo rea''dy; read x < go; sort -u\n")
        await wire.until(b"ready\r\n")
        await wire.type(b"first\n" * 5000)  # more than a terminal holds
        await wire.socket.close()
        opening = asyncio.create_task(plain.ws_connect(path))
        await api.run(vm, "echo > go")
        wire = Wire(await opening)
        await wire.type(b"second\n\x04")
        await wire.until(b"first\r\nsecond\r\n")


async def test_an_end_that_was_not_told_is_told_to_the_next(api: Api, session: str) -> None:
    vm = session.split("/")[3]
    async with attached(api, session) as wire:
        await wire.type(b"until [ -e go ]; do sleep 0.02; done; echo la''st; exit 9\n")
        await wire.until(b"exit 9")
    await api.write(vm, chunk("go", b""))
    await settled(api, session)
    async with attached(api, session) as wire:
        assert await wire.end() == (1000, "exit_code=9")
        assert b"last" in wire.seen


async def test_a_replay_is_bounded_and_begins_with_a_line(api: Api, session: str) -> None:
    async with attached(api, session) as wire:
        await wire.type(b"stty -echo; PS1=; seq 100000 299999; echo e''nd\n")
        await wire.until(b"299999\r\nend\r\n")
    async with attached(api, session) as wire:
        await wire.until(b"end\r\n")
        assert REPLAY // 2 < len(wire.seen) <= 2 * REPLAY
        first, *_ = wire.seen.split(b"\r\n")
        assert first.isdigit()
        assert len(first) == 6
        await wire.type(b"exit\n")
        await wire.end()


async def test_a_slow_connection_holds_the_program_up(api: Api, vm: str, session: str) -> None:
    async with attached(api, session) as wire:
        raw = wire.socket.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # else the system may take tens of MiB
        await wire.type(b"head -c 8000000 /dev/zero | tr '\\0' x; touch ready; exit\n")
        await wire.until(b"xxx")
        await asyncio.sleep(0.3)
        assert (await api.run(vm, "ls ready 2>/dev/null | wc -l"))["stdout"] == "0\n"
        await wire.end()
        assert wire.seen.count(b"x") >= 8_000_000
    assert (await api.run(vm, "ls ready | wc -l"))["stdout"] == "1\n"


async def test_one_that_does_not_persist_ends_with_its_connection(api: Api, vm: str, session: str) -> None:
    async with attached(api, session, persist="False") as wire:
        await wire.type(b"exec sleep 4321\n")
        await wire.until(b"4321\r\n")
    await settled(api, session)
    assert (await api.run(vm, "ps -eo args | grep -c '[s]leep 4321'"))["stdout"] == "0\n"


async def test_an_idle_one_ends(api: Api, vm: str, session: str) -> None:
    async with attached(api, session, cancel_ttl_secs=1, command="/bin/cat"):
        pass
    await settled(api, session)
    assert (await api.run(vm, "ps -eo comm | grep -cx cat"))["stdout"] == "0\n"
    async with attached(api, session) as wire:
        await wire.until(b"$ ")
    assert (await api.call("PATCH", session, {"timeout_secs": 1})).json["ok"] is True
    await settled(api, session)


async def test_it_is_killed(api: Api, session: str) -> None:
    async with attached(api, session) as wire:
        await wire.type(b"trap '' HUP INT TERM; sleep 4323\n")
        await wire.until(b"4323\r\n")
        await wire.socket.send_str('{"type":"kill"}')
        assert await wire.end() == (1000, "killed")
    await settled(api, session)


async def test_the_end_of_the_session_and_of_the_vm(api: Api, vm: str, session: str) -> None:
    async with attached(api, session) as wire:
        await wire.until(b"$ ")
        assert (await api.call("DELETE", session)).json == {"deleted": True}
        assert await wire.end() == (1001, "the session was deleted")
    default = f"/v1/vms/{vm}/sessions/{(await api.get(f'/v1/vms/{vm}'))['sessions'][0]['session_id']}"
    async with attached(api, default) as wire:
        await wire.type(b"echo u''p\n")
        await wire.until(b"up")
        assert (await api.call("DELETE", f"/v1/vms/{vm}")).status == 200
        assert await wire.end() == (1001, "the VM was deleted")
    assert (await refused(api, default, key=api.key))[0] == 404


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("no json", "a text frame is a JSON object"),
        ('{"type": "resize", "cols": 0, "rows": 5}', "resize: expected cols and rows, integers from 1 to 1000"),
        ('{"type": "resize", "cols": true, "rows": 5}', "resize: expected cols and rows, integers from 1 to 1000"),
        ('{"type": "dance"}', "a text frame has the type resize, kill or ping, and what belongs to it"),
        ('{"type": "kill", "who": 1}', "a text frame has the type resize, kill or ping, and what belongs to it"),
    ],
)
async def test_a_wrong_frame_ends_the_connection_only(api: Api, session: str, frame: str, reason: str) -> None:
    async with attached(api, session) as wire:
        await wire.until(b"$ ")
        await wire.socket.send_str(frame)
        assert await wire.end() == (1008, reason)
    assert (await api.get(session))["state"] == "running"


async def test_a_ticket_expires() -> None:
    async with ForkedEmulator(isolation="none") as emulator, aiohttp.ClientSession() as http:
        api = Api(http, emulator.url, emulator.api_key)
        vm = (await api.fork())["vm_id"]
        made = await api.call("POST", f"/v1/vms/{vm}/sessions", {})
        session = f"/v1/vms/{vm}/sessions/{made.json['session_id']}"
        good = await ticket(api, session)
        emulator.clock.shift(61)
        status, error = await refused(api, session, ticket=good)
        assert (status, "expired" in error["message"]) == (401, True)


async def test_what_is_refused(api: Api, other: Api, vm: str, session: str) -> None:
    key = api.key
    for query, field in (
        ({"cols": 0}, "cols"),
        ({"rows": 1001}, "rows"),
        ({"cols": "wide"}, "cols"),
        ({"persist": "maybe"}, "persist"),
        ({"cancel_ttl_secs": 0}, "cancel_ttl_secs"),
        ({"command": "ls -l"}, "command"),
        ({"command": "/nowhere"}, "command"),
    ):
        status, error = await refused(api, session, key=key, **query)
        assert (status, error["code"], error["details"]["violations"][0]["field"]) == (400, "bad_request", field)
    assert (await refused(api, session))[0] == 401
    assert (await refused(api, session, ticket="x.y"))[0] == 401
    assert (await refused(other, session, key=other.key))[0] == 404
    plain = await api.call("GET", f"{session}/pty")
    assert plain.refusal == (400, "bad_request")
    good = await ticket(api, session)
    default = f"/v1/vms/{vm}/sessions/{(await api.get(f'/v1/vms/{vm}'))['sessions'][0]['session_id']}"
    assert (await refused(api, default, ticket=good))[0] == 403
    for method, path, body in (
        ("POST", f"{session}/pty-ticket", {"more": 1}),
        ("POST", f"/v1/vms/{vm}/sessions", {"cols": 80}),
        ("POST", f"/v1/vms/{vm}/sessions", {"pty": True, "command": "relative"}),
        ("POST", f"/v1/vms/{vm}/sessions", {"pty": True, "rows": 1001}),
    ):
        assert (await api.call(method, path, body)).refusal == (400, "bad_request")
    idle = await api.call("PATCH", session, {"cols": 80})
    assert (idle.refusal, idle.details["requirement"]) == ((409, "invalid_state"), "running")
    for path in (f"/v1/vms/{vm}/sessions/none", "/v1/vms/none/sessions/none"):
        assert (await api.call("POST", f"{path}/pty-ticket", {})).refusal == (404, "not_found")
        assert (await refused(api, path, key=key))[0] == 404


async def test_only_one_connection_and_no_run_at_once(api: Api, vm: str, session: str) -> None:
    async with attached(api, session) as wire:
        await wire.until(b"$ ")
        status, error = await refused(api, session, key=api.key)
        assert (status, error["code"], error["details"]) == (409, "resource_busy", {"resource": "session"})
        await wire.type(b"exit\n")
        await wire.end()
    await settled(api, session)
    run = await api.background(vm, "sleep 100", session_id=session.rpartition("/")[2])
    status, error = await refused(api, session, key=api.key)
    assert (status, error["code"]) == (409, "resource_busy")
    await api.call("DELETE", f"/v1/vms/{vm}/runs/{run}")


async def test_a_session_that_begins_with_a_terminal(api: Api, vm: str) -> None:
    made = await api.call("POST", f"/v1/vms/{vm}/sessions", {"pty": True, "cols": 70, "rows": 20, "cwd": "/tmp"})
    assert (made.json["state"], made.json["cwd"]) == ("running", "/tmp")
    session = f"/v1/vms/{vm}/sessions/{made.json['session_id']}"
    assert (await api.call("PATCH", session, {"cols": 71})).json["session_id"] == made.json["session_id"]
    async with attached(api, session) as wire:
        await wire.type(b"stty size; pwd; exit\n")
        assert await wire.end() == (1000, "exit_code=0")
        assert b"20 71\r\n/tmp" in wire.seen
    wrong = await api.call("POST", f"/v1/vms/{vm}/sessions", {"pty": True, "command": "/nowhere"})
    assert wrong.refusal == (400, "bad_request")
    assert len((await api.get(f"/v1/vms/{vm}/sessions"))["sessions"]) == 2


async def test_a_vm_has_a_limited_number(api: Api, vm: str) -> None:
    made = [
        await api.call("POST", f"/v1/vms/{vm}/sessions", {"pty": True, "command": "/bin/cat"}) for _ in range(PER_VM)
    ]
    assert {each.status for each in made} == {200}
    refusal = await api.call("POST", f"/v1/vms/{vm}/sessions", {"pty": True, "command": "/bin/cat"})
    assert refusal.refusal == (429, "quota_exceeded")
    assert refusal.details["limit"] == {"metric": "pty_sessions", "unit": "sessions"}
    assert refusal.details["measurements"]["current_usage"] == PER_VM
    assert (await api.call("DELETE", f"/v1/vms/{vm}/sessions/{made[0].json['session_id']}")).status == 200
    assert (await api.call("POST", f"/v1/vms/{vm}/sessions", {"pty": True, "command": "/bin/cat"})).status == 200


async def test_generation_0_5_has_none() -> None:
    with ForkedEmulator(EmulatorOptions(isolation=ISOLATION, generation="0.5")) as emulator:
        async with aiohttp.ClientSession() as session:
            api = Api(session, emulator.url, emulator.api_key, "0.5")
            vm = await api.fork()
            path = f"/v1/vms/{vm['vm_id']}/sessions/{vm['sessions'][0]['session_id']}"
            for method, end in (("POST", "pty-ticket"), ("GET", "pty")):
                assert (await api.raw(method, api.url + f"{path}/{end}")).status == 404
