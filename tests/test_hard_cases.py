"""Cases that were found by looking for trouble: odd headers, secrets at a cut, closing in the middle, odd arguments."""

from __future__ import annotations

import asyncio
import enum
import socket
import threading
from typing import Any

import aiohttp
import pytest

from arker import (
    ApiError,
    ArkerError,
    AsyncArker,
    AsyncVM,
    BadReplyError,
    ConfigurationError,
    InvalidArgumentError,
    NetworkPolicyUnknown,
    RetryPolicy,
    UnavailableError,
)
from arker._transport.http.sessions import LoopSessions
from arker_sync import Arker
from tests.support.clients import QUICK, make_client
from tests.support.samples import completed
from tests.support.secrets import API_KEY
from tests.support.server import Drop, Recorded, Reply, ScriptedServer, dropped, error, ok

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("before", range(270, 301, 3))
async def test_no_part_of_the_key_is_left_at_a_cut(server: ScriptedServer, before: int) -> None:
    server.answer(Reply(status=500, body=b"x" * before + API_KEY.encode() + b"y" * 300))
    async with make_client(server, retry=False) as client:
        with pytest.raises(ApiError) as caught:
            await client.vm("v").refresh()
    assert API_KEY[:4] not in caught.value.message
    assert len(caught.value.message) <= 300


@pytest.mark.parametrize(
    "value",
    ["Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 01 Jan 2029 00:00:00 +99999", "1_0", "nan", "inf", "-1", "x" * 5000],
)
async def test_a_retry_after_that_says_nothing(server: ScriptedServer, client: AsyncArker, value: str) -> None:
    server.script(error("unavailable", status=503, **{"Retry-After": value}), ok({"vm_id": "v"}))
    assert (await client.get_vm("v")).id == "v"


async def test_a_repeated_deletion_finds_nothing_and_no_body(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(dropped(Drop.AFTER_PROCESSING), Reply(status=404))
    assert (await vm.delete()).deleted is True


async def test_waiting_for_a_connection_is_no_stall(server: ScriptedServer) -> None:
    from arker import HttpTimeouts

    def answer(request: Recorded) -> Reply:
        if request.path.endswith("/runs"):
            return ok(completed(), delay=0.3)
        result = {"path": "f", "size": 1, "complete": True, "written": True}
        return ok({"results": [result]})

    server.answer(answer)
    async with make_client(server, max_connections=1, retry=False, timeout=HttpTimeouts(idle=0.15)) as client:
        run = asyncio.create_task(client.vm("v").run("sleep"))
        await asyncio.sleep(0.02)
        await client.vm("v").sync("f", bytes(3 * 1024 * 1024))
        assert (await run).exit_code == 0


async def test_a_run_that_went_to_the_background_unasked(server: ScriptedServer, vm: AsyncVM) -> None:
    """A foreground run that is answered like one in the background is followed to its end."""
    end = {"run_id": "r-1", "state": "completed", "exit_code": 0, "stdout": "hi", "stderr": ""}
    server.script(ok({"run_id": "r-1"}), ok({"runs": [{"run_id": "r-1", "state": "running"}]}))
    server.script(ok({"runs": []}), ok(end))
    result = await vm.run("true", check=True)
    assert (result.stdout, result.exit_code, result.run_id) == (b"hi", 0, "r-1")


async def test_an_object_store_s_retry_after_is_heeded(server: ScriptedServer, vm: AsyncVM) -> None:
    url = f"{server.url}/object"
    server.script(ok({"path": "f", "size": 2, "presigned_url": url, "expires_in": 9}))
    server.script(Reply(status=503, headers={"Retry-After": "3600"}))
    with pytest.raises(UnavailableError) as caught:
        await vm.sync("f")
    assert caught.value.retry_after == 3600
    assert caught.value.outcome == "not_started"


async def test_a_file_read_never_has_an_effect(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok({"neither": 1}))
    with pytest.raises(BadReplyError) as caught:
        await vm.sync("f")
    assert caught.value.outcome == "not_started"


class State(str, enum.Enum):
    IDLE = "idle"


async def test_a_member_of_an_enumeration_is_its_value(server: ScriptedServer, client: AsyncArker) -> None:
    server.answer(ok({"vms": []}))
    await client.list_vms(state=State.IDLE)
    assert server.last.query == "state=idle"
    await client.list_vms(state=[State.IDLE, "running"])
    assert server.last.query == "state=idle%2Crunning"


async def test_a_number_of_a_type_of_its_own(server: ScriptedServer, vm: AsyncVM) -> None:
    class Seconds(float):
        """As numpy's are."""

    server.script(ok(completed()))
    await vm.run("true", timeout=Seconds(2.5))
    assert server.last.json["timeout"] == 2.5


def _released() -> memoryview:
    view = memoryview(b"x")
    view.release()
    return view


async def test_arguments_that_cannot_be(server: ScriptedServer, client: AsyncArker, vm: AsyncVM) -> None:
    unknown = NetworkPolicyUnknown(type="new", raw={"a": object()})
    disordered: Any = {"rm", "-r"}
    odd_visibility: Any = {"inbound": {"ports": {80: {"visibility": "pubic"}}}}
    for call in (
        vm.run("true", deadline=10**400),
        vm.run("true", timeout=10**400),
        vm.run(disordered),
        vm.run("true", network={"inbound": {"ports": {"9" * 5000: {}}}}),
        vm.run("true", network={"inbound": {"ports": {"0080": {}}}}),
        vm.run("true", network=odd_visibility),
        vm.sync("f", _released()),
        client.fork("ubuntu", network=unknown),
        vm.create_session(env={"TOKEN": b"SECRET"}),  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            await call
        assert "SECRET" not in str(caught.value)
    assert server.requests == []
    with pytest.raises(InvalidArgumentError):
        RetryPolicy(base_delay=10**400)


async def test_nulls_in_an_unknown_policy_are_left_out(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok({"vm_id": "v"}))
    policy = NetworkPolicyUnknown(type="new", raw={"type": "new", "a": None, "b": [{"c": None, "d": 1}]})
    await client.fork("ubuntu", network=policy)
    assert server.last.json["network"] == {"type": "new", "b": [{"d": 1}]}


async def test_closing_during_the_first_request(server: ScriptedServer) -> None:
    """The modules that the first request needs may still be on their way; or it may have been answered just before."""
    server.answer(ok({"vm_id": "v"}))
    client = make_client(server)
    first = asyncio.create_task(client.get_vm("v"))
    await client.aclose()
    (result,) = await asyncio.wait_for(asyncio.gather(first, return_exceptions=True), 10)
    assert isinstance(result, ArkerError | AsyncVM)
    with pytest.raises(ConfigurationError):
        await client.get_vm("v")


async def test_closing_when_another_loop_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arker._transport.http.sessions._CLOSE_SECONDS", 0.05)
    sessions = LoopSessions(4, aiohttp.ClientTimeout(total=None))
    ready, over = threading.Event(), threading.Event()

    def elsewhere() -> None:
        async def block() -> None:
            sessions.get()
            ready.set()
            over.wait(5)  # the loop is stuck meanwhile

        asyncio.run(block())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(ready.wait)
    sessions.get()
    await sessions.aclose()
    over.set()
    await asyncio.to_thread(thread.join)


async def test_a_connection_notices_that_its_peer_has_vanished(server: ScriptedServer) -> None:
    made: list[socket.socket] = []
    from arker._transport.http import sessions

    original = sessions._keepalive_socket  # pyright: ignore[reportPrivateUsage]
    family = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    made.append(original(family))
    assert made[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    made[0].close()


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://[", "ftp://user:SECRET@x"])
async def test_a_proxy_that_is_none(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    async with AsyncArker(
        API_KEY, base_url="http://api.example.test", insecure_hosts=["api.example.test"], retry=QUICK
    ) as client:
        with pytest.raises(ConfigurationError) as caught:
            await client.get_vm("v")
    assert "proxy" in caught.value.message
    assert "SECRET" not in str(caught.value)


async def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with AsyncArker(
        API_KEY, base_url="http://api.example.test", insecure_hosts=["api.example.test"], retry=False
    ) as client:
        with pytest.raises(ArkerError) as caught:
            await client.get_vm("v")
    assert "proxy 127.0.0.1:1" in caught.value.message


@pytest.mark.parametrize("kind", [AsyncArker, Arker])
def test_a_client_whose_making_has_failed_can_be_shown(kind: Any) -> None:
    half_made: Any = object.__new__(kind)
    with pytest.raises(InvalidArgumentError):
        half_made.__init__("k", base_url="no URL")
    assert repr(half_made) == f"<{kind.__name__}, not made>"
