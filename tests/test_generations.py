"""The generation of a server: how it is learnt, and what is sent where nothing tells."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from arker import (
    AsyncArker,
    DeadlineExceededError,
    NotFoundError,
)
from tests.support.clients import CONTROL
from tests.support.samples import completed
from tests.support.secrets import API_KEY
from tests.support.server import Drop, Recorded, Reply, ScriptedServer, closed_port, dropped, error, ok
from tests.support.today import HEALTH, HEALTHY, NO_OPERATION, NO_ROUTE, PATCH, POST, VM_OF_TODAY, auto, nested, sent
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


# --- how it is learnt ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "health",
    [
        HEALTHY,
        ok({"status": "unavailable", "timestamp": "2026-11-02T03:04:05Z"}, status=503),
        nested("unavailable", status=503),
        nested("unauthorized", status=401),
        NO_OPERATION,
    ],
    ids=["healthy", "unwell", "unavailable", "unauthorized", "no route"],
)
async def test_a_server_of_today_is_recognised(server: ScriptedServer, health: Reply) -> None:
    async with auto(server) as client:
        server.script(health, ok(VM_OF_TODAY), ok(VM_OF_TODAY))
        assert (await client.vm("v").resize(vcpu_count=3)).resized
        assert (await client.vm("v").resize(memory_mib=512)).resized
    assert sent(server) == [HEALTH, PATCH, PATCH]
    assert [request.json for request in server.requests[1:]] == [
        {"resources": {"vcpu": 3}},
        {"resources": {"memory_mib": 512}},
    ]


@pytest.mark.parametrize(
    "health",
    [
        NO_ROUTE,
        ok({"error": {"code": "not_found", "message": "no such route"}}, status=404),
        Reply(status=404, body=b"<html>"),
        Reply(status=405),
    ],
    ids=["flat", "nested", "page", "405"],
)
async def test_a_server_of_0_5_is_recognised(server: ScriptedServer, health: Reply) -> None:
    async with auto(server) as client:
        server.script(health, ok({"resized": True}), ok({"resized": True}))
        for _ in range(2):
            assert (await client.vm("v").resize(vcpu_count=3)).resized
    assert sent(server) == [HEALTH, POST, POST]
    assert server.last.json == {"vcpu_count": 3}


async def test_the_question_carries_no_key(server: ScriptedServer) -> None:
    async with auto(server) as client:
        server.script(HEALTHY, ok(VM_OF_TODAY))
        await client.vm("v").resize(vcpu_count=3)
    question, request = server.requests
    assert "Authorization" not in question.headers
    assert API_KEY not in str(question)
    assert request.headers["Authorization"] == f"Bearer {API_KEY}"


async def test_each_base_url_is_asked_by_itself(server: ScriptedServer) -> None:
    async with auto(server) as client:
        server.script(NO_ROUTE, ok({"resized": True}), HEALTHY, ok({"vms": []}))
        await client.vm("v").resize(vcpu_count=3)
        await client.list_vms(public=True)
    assert sent(server)[2:] == [f"GET {CONTROL}/v1/health", f"GET {CONTROL}/v1/vms"]


@pytest.mark.parametrize("read", ["fork", "get", "refresh"])
async def test_a_vm_tells_as_well(server: ScriptedServer, read: str) -> None:
    async with auto(server) as client:
        server.script(ok(VM_OF_TODAY), ok(VM_OF_TODAY))
        if read == "fork":
            vm = await client.fork("ubuntu")
        else:
            vm = await client.get_vm("v") if read == "get" else await client.vm("v").refresh()
        await vm.resize(vcpu_count=3)
    assert sent(server)[1:] == [PATCH]


async def test_a_request_that_is_the_same_in_both_asks_nothing(server: ScriptedServer) -> None:
    async with auto(server) as client:
        server.script(ok({"vm_id": "v"}), ok(completed()), ok(completed()), ok({"run_id": "r"}), ok({"sessions": []}))
        vm = await client.fork("ubuntu", name="n", public=True, disk=True, durable=True)
        await vm.run("true", timeout=3)
        await vm.run("", signal="INT")
        await vm.start("true")
        await vm.list_sessions()
    assert not any("health" in target for target in sent(server))
    assert server.requests[2].json["signal"] == "SIGINT"


async def test_many_at_once_ask_once(server: ScriptedServer) -> None:
    def answer(request: Recorded) -> Reply:
        return ok({"status": "ok"}, delay=0.05) if request.path.endswith("health") else ok(VM_OF_TODAY)

    server.answer(answer)
    async with auto(server) as client:
        await asyncio.gather(*(client.fork("ubuntu", vcpu_count=3) for _ in range(20)))
    assert sent(server).count(HEALTH) == 1
    assert len(server.requests) == 21


async def test_a_caller_who_gives_up_does_not_spoil_it_for_the_others(server: ScriptedServer) -> None:
    given_up = threading.Event()

    async def answer(request: Recorded) -> Reply:
        if request.path.endswith("health"):
            await until(given_up.is_set)
            return ok({"status": "ok"})
        return ok(VM_OF_TODAY)

    server.answer(answer)
    async with auto(server) as client:
        patient = asyncio.create_task(client.vm("v").resize(vcpu_count=3))
        with pytest.raises(DeadlineExceededError) as caught:
            await client.vm("v").resize(vcpu_count=3, deadline=0.05)
        given_up.set()
        assert (caught.value.outcome, caught.value.operation) == ("not_started", "vm.resize")
        assert (await patient).resized


# --- when the answer does not tell -----------------------------------------------------------------------------------

UNKNOWN = [
    Reply(status=502),
    error("unauthorized", status=401),
    ok(None),
    Reply(body=b"<html>welcome</html>"),
    dropped(Drop.RESET),
]


@pytest.mark.parametrize("health", UNKNOWN)
@pytest.mark.parametrize(
    "refusal", [NO_ROUTE, error("method_not_allowed", status=405), error("bad_request", status=400)]
)
async def test_the_form_of_today_is_sent_and_then_the_other_once(
    server: ScriptedServer, health: Reply, refusal: Reply
) -> None:
    async with auto(server) as client:
        server.script(health, refusal, ok({"resized": True}), ok({"resized": True}))
        assert (await client.vm("v").resize(vcpu_count=3)).resized
        assert (await client.vm("v").resize(vcpu_count=4)).resized
    assert sent(server) == [HEALTH, PATCH, POST, POST]


async def test_the_form_that_was_taken_is_known(server: ScriptedServer) -> None:
    async with auto(server) as client:
        server.script(Reply(status=502), ok(VM_OF_TODAY), ok(VM_OF_TODAY))
        await client.vm("v").resize(vcpu_count=3)
        await client.vm("v").resize(vcpu_count=4)
    assert sent(server) == [HEALTH, PATCH, PATCH]


async def test_if_no_form_is_taken_the_first_refusal_is_raised(server: ScriptedServer) -> None:
    async with auto(server) as client:
        server.script(Reply(status=502), nested("not_found", "no such VM", status=404), NO_ROUTE)
        with pytest.raises(NotFoundError, match="no such VM"):
            await client.vm("v").resize(vcpu_count=3)


@pytest.mark.parametrize("status", [401, 403, 409, 422, 500])
async def test_no_other_error_leads_to_the_other_form(server: ScriptedServer, status: int) -> None:
    async with auto(server, retry=False) as client:
        server.script(Reply(status=502), Reply(status=status, body=b'{"code": "x", "message": "no"}'))
        with pytest.raises(Exception, match="no"):
            await client.vm("v").resize(vcpu_count=3)
    assert sent(server) == [HEALTH, PATCH]


async def test_a_page_of_a_proxy_is_no_proof_that_nothing_was_done(server: ScriptedServer) -> None:
    async with auto(server) as client:
        server.script(Reply(status=502), Reply(status=404, body=b"<html>"))
        with pytest.raises(NotFoundError) as caught:
            await client.vm("v").create_mount(filesystem_id="fs")
    assert caught.value.outcome == "unknown"


async def test_a_server_that_cannot_be_reached_is_no_other_error_than_before() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    async with AsyncArker(API_KEY, base_url=url, retry=False) as client:
        with pytest.raises(Exception, match="connect") as caught:
            await client.vm("v").resize(vcpu_count=3)
    assert getattr(caught.value, "operation", None) == "vm.resize"


async def test_a_fork_is_posted_in_the_other_form_and_both_are_on_record(server: ScriptedServer, tmp_path: Any) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    async with auto(server, ledger=ledger) as client:
        server.script(Reply(status=502), error("bad_request", status=400), ok({"vm_id": "v"}), ok({"deleted": True}))
        async with await client.fork("ubuntu", vcpu_count=3) as vm:
            assert vm.id == "v"
    today, earlier = server.requests[1:3]
    assert today.json["resources"] == {"vcpu": 3}
    assert earlier.json["vcpu_count"] == 3
    assert today.key == earlier.key
