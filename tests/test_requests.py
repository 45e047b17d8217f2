"""Requests that servers of both generations take: what is sent, what is left out, and in which form."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from arker import (
    AsyncArker,
    AsyncVM,
    BadRequestError,
    InvalidArgumentError,
    NetworkPolicyUnknown,
    RetryPolicy,
)
from tests.support.clients import BURST_ID, make_client
from tests.support.samples import completed
from tests.support.server import Reply, ScriptedServer, error, ok

pytestmark = pytest.mark.anyio


async def test_defaults_are_left_out(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok({"vm_id": "v"}), ok(completed()), ok({"run_id": "r"}), ok({"session_id": "s"}))
    vm = await client.fork("ubuntu")
    await vm.run("x")
    await vm.start("x")
    await vm.create_session()
    assert [request.json for request in server.requests] == [
        {"source_vm_name": "ubuntu", "source_org_id": "ArkerHQ"},
        {"command": "x"},
        {"command": "x", "background": True},
        {},
    ]


@pytest.mark.parametrize("disk", [True, False])
async def test_a_disk_is_asked_for_only_in_words(server: ScriptedServer, client: AsyncArker, disk: bool) -> None:
    server.script(ok({"vm_id": "v"}))
    await client.fork("ubuntu", disk=disk)
    assert server.last.json["disk"] is disk


@pytest.mark.parametrize(("seconds", "sent"), [(5, b'"timeout":5}'), (5.0, b'"timeout":5}'), (0.5, b'"timeout":0.5}')])
async def test_whole_seconds_are_integers(server: ScriptedServer, vm: AsyncVM, seconds: float, sent: bytes) -> None:
    server.script(ok(completed()))
    await vm.run("x", timeout=seconds)
    assert server.last.body.endswith(sent)


REFUSALS: list[dict[str, Any]] = [
    {"code": "bad_request", "message": "timeout must be an integer"},
    {"code": "bad_request", "message": "no", "details": {"violations": [{"field": "timeout", "message": "integer"}]}},
]


@pytest.mark.parametrize("said", REFUSALS)
async def test_a_fraction_that_is_refused_is_rounded_up(
    server: ScriptedServer, vm: AsyncVM, said: dict[str, Any]
) -> None:
    refusal = ok({"error": said}, status=400)
    server.script(refusal, ok(completed()), refusal, ok({"run_id": "r"}), refusal, ok({"run_id": "r"}))
    await vm.run("x", timeout=1.2, idempotency_key="k")
    await vm.start("x", timeout=1.2, idempotency_key="k")
    await vm.run("x", timeout=1.2, background=True)
    assert [request.json["timeout"] for request in server.requests] == [1.2, 2, 1.2, 2, 1.2, 2]
    # Servers may keep the key of what they refused, and must know the second form again should it be repeated.
    keys = [request.key for request in server.requests]
    assert keys[0] == keys[2] == "k"
    assert keys[1] == keys[3] != "k"
    assert len(set(keys)) == 4


async def test_other_refusals_are_errors(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(error("bad_request", "no such shell", status=400), error("bad_request", "timeout", status=400))
    with pytest.raises(BadRequestError):
        await vm.run("x", timeout=0.5)
    with pytest.raises(BadRequestError):
        await vm.run("x", timeout=3)
    server.script(Reply(status=400, body=b"timeout"))
    with pytest.raises(BadRequestError):
        await vm.run("x", timeout=0.5)


@pytest.mark.parametrize("name", ["INT", "int", "SIGINT", " sigint "])
async def test_a_signal_in_any_spelling(server: ScriptedServer, vm: AsyncVM, name: str) -> None:
    server.script(ok(completed()))
    await vm.run("", signal=name)
    assert server.last.json == {"command": "", "signal": "SIGINT"}


@pytest.mark.parametrize("instead", [{"acquire": "cpu"}, {"release": "disk"}, {"vcpu_count": 2}, {"memory_mib": 512}])
async def test_nothing_is_run_where_something_else_is_asked_for(
    server: ScriptedServer, vm: AsyncVM, instead: dict[str, Any]
) -> None:
    server.script(ok(completed()))
    await vm.run("", **instead)
    assert server.last.json == {"command": "", **instead}


@pytest.mark.parametrize("key", ["k", "k" * 64, "with spaces inside"])
async def test_keys_that_every_server_takes(server: ScriptedServer, vm: AsyncVM, key: str) -> None:
    server.script(ok(completed()))
    await vm.run("x", idempotency_key=key)
    assert server.last.key == key


@pytest.mark.parametrize("text", ["grüß\n", ""])
async def test_a_text_is_written_as_utf_8(server: ScriptedServer, vm: AsyncVM, text: str) -> None:
    server.script(ok({"results": [{"complete": True, "written": True}]}))
    await vm.sync("/f", text)
    (entry,) = server.last.json["writes"]
    assert entry["size"] == len(text.encode())


@pytest.mark.parametrize(
    ("status", "query"), [(404, "status=404"), ("404", "status=404"), ([404, "500"], "status=404%2C500")]
)
async def test_rows_of_several_statuses(server: ScriptedServer, client: AsyncArker, status: Any, query: str) -> None:
    server.script(ok({"rows": []}))
    await client.list_runs(status=status)
    assert server.last.query == query


@pytest.mark.parametrize("status", [[], "", -1, True, [None], 4.5])
async def test_what_is_no_status(server: ScriptedServer, client: AsyncArker, status: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="status"):
        await client.list_runs(status=status)
    assert not server.requests


async def test_without_a_burst_url_everything_goes_to_the_compute_url(server: ScriptedServer) -> None:
    async with make_client(server, burst_base_url=None) as client:
        assert client.burst_base_url is None
        server.script(ok({"vm_id": "v"}))
        await client.fork("arkuntu")
        assert client.vm(BURST_ID).base_url == client.base_url


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
