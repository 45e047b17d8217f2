"""Idempotency keys of runs and forks (contract, section 3)."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

from tests.emulator.server.support import Api, Reply, output

pytestmark = pytest.mark.anyio


async def together(*requests: Any) -> list[Reply]:
    replies: list[Reply] = []

    async def one(request: Any) -> None:
        replies.append(await request())

    async with anyio.create_task_group() as group:
        for request in requests:
            group.start_soon(one, request)
    return replies


async def test_foreground_requests_under_one_key_run_once_and_get_the_same_reply(api: Api, vm: str) -> None:
    async def send() -> Reply:
        body = {"command": "echo x >> count; sleep 0.2; echo out; exit 4", "background": False}
        return await api.call("POST", f"/v1/vms/{vm}/runs", body, idempotency_key="same")

    replies = await together(send, send, send)
    replies.append(await send())
    assert {reply.status for reply in replies} == {200}
    bodies = [reply.json for reply in replies]
    assert all(body == bodies[0] for body in bodies)
    assert (output(bodies[0]), bodies[0]["exit_code"]) == (b"out\n", 4)
    assert output(await api.run(vm, "wc -l < count")).strip() == b"1"


async def test_a_repeated_background_request_answers_at_once_with_the_original_run(api: Api, vm: str) -> None:
    async def send() -> Reply:
        body = {"command": "sleep 60", "background": True}
        return await api.call("POST", f"/v1/vms/{vm}/runs", body, idempotency_key="bg")

    first, second = await together(send, send)
    assert first.json["run_id"] == second.json["run_id"]
    run_id = first.json["run_id"]
    await api.call("DELETE", f"/v1/vms/{vm}/runs/{run_id}")
    third = await send()
    assert (third.json["run_id"], third.json["state"], "stdout" in third.json) == (run_id, "cancelled", False)


async def test_a_key_used_for_another_request_is_a_conflict_naming_the_run(api: Api, vm: str) -> None:
    path = f"/v1/vms/{vm}/runs"
    first = await api.call("POST", path, {"command": "echo 1"}, idempotency_key="k")
    other = await api.call("POST", path, {"command": "echo 2"}, idempotency_key="k")
    assert other.refusal == (409, "idempotency_conflict")
    assert first.json["run_id"] in other.message
    # The order of the members says nothing.
    again = await api.call("POST", path, {"background": False, "command": "echo 3"}, idempotency_key="k2")
    same = await api.call("POST", path, {"command": "echo 3", "background": False}, idempotency_key="k2")
    assert again.json == same.json


async def test_the_scope_is_organisation_method_and_path(api: Api, other: Api, vm: str) -> None:
    second = (await api.fork())["vm_id"]
    foreign = (await other.fork())["vm_id"]
    runs = {
        (await client.call("POST", f"/v1/vms/{target}/runs", {"command": "true"}, idempotency_key="k")).json["run_id"]
        for client, target in ((api, vm), (api, second), (other, foreign))
    }
    assert len(runs) == 3


async def test_a_refused_request_leaves_no_key_behind(api: Api, vm: str) -> None:
    path = f"/v1/vms/{vm}/runs"
    refused = await api.call("POST", path, {"command": "true", "timeout": -1}, idempotency_key="k")
    assert refused.refusal == (400, "bad_request")
    accepted = await api.call("POST", path, {"command": "true"}, idempotency_key="k")
    assert accepted.status == 200
    idle = {"command": "", "signal": "INT"}
    assert (await api.call("POST", path, idle, idempotency_key="s")).refusal == (404, "not_found")
    run_id = await api.background(vm, "echo up; exec sleep 60")
    await api.printed(vm, run_id, "up")
    assert (await api.call("POST", path, idle, idempotency_key="s")).status == 200
    await api.ended(vm, run_id)
    # Under the same key it is acknowledged again, and not sent again.
    assert (await api.call("POST", path, idle, idempotency_key="s")).status == 200


@pytest.mark.parametrize("key", ["", "a" * 256, "a\tb", "é"])
async def test_a_malformed_key_is_refused(api: Api, vm: str, key: str) -> None:
    reply = await api.call("POST", f"/v1/vms/{vm}/runs", {"command": "true"}, idempotency_key=key)
    assert reply.refusal == (400, "bad_request")
    fork = await api.call("POST", "/v1/fork", {"source_vm_name": "ubuntu"}, idempotency_key=key)
    assert fork.refusal == (400, "bad_request")


async def test_forks_under_one_key_make_one_vm(api: Api) -> None:
    async def send() -> Reply:
        body = {"source_vm_name": "ubuntu", "name": "once", "disk": True}
        return await api.call("POST", "/v1/fork", body, idempotency_key="f")

    replies = await together(send, send, send)
    replies.append(await send())
    assert {reply.status for reply in replies} == {200}
    assert len({reply.json["vm_id"] for reply in replies}) == 1
    assert len((await api.get("/v1/vms"))["vms"]) == 1
    other = await api.call("POST", "/v1/fork", {"source_vm_name": "ubuntu"}, idempotency_key="f")
    assert other.refusal == (409, "conflict")
    assert replies[0].json["vm_id"] in other.message


async def test_a_duplicate_that_comes_late_waits_for_the_end(api: Api, vm: str) -> None:
    body = {"command": "sleep 0.4; echo slept"}

    async def send() -> Reply:
        return await api.call("POST", f"/v1/vms/{vm}/runs", body, idempotency_key="late")

    start = time.monotonic()

    async def late() -> Reply:
        await anyio.sleep(0.2)
        return await send()

    first, second = await together(send, late)
    assert time.monotonic() - start > 0.4
    assert first.json == second.json


@pytest.mark.parametrize("path", ["/v1/fork", "/v1/vms/{vm}/runs"])
async def test_a_body_that_is_too_deep_to_be_compared_is_refused(api: Api, vm: str, path: str) -> None:
    body = b'{"source_vm_name": "ubuntu", "command": "true", "policies": ' + b"[" * 500 + b"]" * 500 + b"}"
    reply = await api.call("POST", path.format(vm=vm), body, idempotency_key="deep")
    assert reply.refusal == (400, "bad_request")
    assert await api.list_all("/v1/vms", "vms", state="running") == []


async def test_a_request_with_fewer_seconds_left_is_the_same(api: Api, vm: str) -> None:
    for path, body in (("/v1/fork", {"source_vm_name": "ubuntu"}), (f"/v1/vms/{vm}/runs", {"command": "true"})):
        sent = [
            await api.call("POST", path, {**body, "queueing_timeout": left}, idempotency_key="left") for left in (9, 8)
        ]
        assert [reply.status for reply in sent] == [200, 200]
        first, second = [reply.json.get("run_id") or reply.json["vm_id"] for reply in sent]
        assert first == second
