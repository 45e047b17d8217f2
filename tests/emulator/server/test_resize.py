"""Sizes: resize, sizes of runs and forks (contract, section 5)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.server.support import Api

pytestmark = pytest.mark.anyio


async def sizes(api: Api, vm: str) -> tuple[int, int, int]:
    body = await api.get(f"/v1/vms/{vm}")
    return body["vcpu_count"], body["memory_mib"], body["disk_mib"]


async def test_a_resize_is_reported_and_leaves_the_rest(api: Api, vm: str) -> None:
    before = await sizes(api, vm)
    reply = await api.call("POST", f"/v1/vms/{vm}/resize", {"memory_mib": 9000})
    assert (reply.status, reply.json) == (200, {"resized": True})
    assert await sizes(api, vm) == (before[0], 9000, before[2])
    await api.call("POST", f"/v1/vms/{vm}/resize", {"vcpu_count": 3, "disk_mib": 77, "memory_mib": None})
    assert await sizes(api, vm) == (3, 9000, 77)
    child = await api.fork(source_vm_id=vm, memory_mib=500)
    assert (child["vcpu_count"], child["memory_mib"], child["disk_mib"]) == (3, 500, 77)


async def test_a_run_may_resize_too(api: Api, vm: str) -> None:
    await api.run(vm, "true", vcpu_count=5, memory_mib=600, disk_mib=700)
    assert await sizes(api, vm) == (5, 600, 700)


@pytest.mark.parametrize("field", ["vcpu_count", "memory_mib", "disk_mib"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True, 2**31, []])
async def test_a_bad_size_is_named(api: Api, vm: str, field: str, value: Any) -> None:
    before = await sizes(api, vm)
    for path, body in (
        (f"/v1/vms/{vm}/resize", {"vcpu_count": 1, "memory_mib": 1, "disk_mib": 1}),
        (f"/v1/vms/{vm}/runs", {"command": "true"}),
        ("/v1/fork", {"source_vm_id": vm}),
    ):
        reply = await api.call("POST", path, {**body, field: value})
        assert reply.refusal == (400, "bad_request")
        assert reply.message.startswith(f"{field}:")
    assert await sizes(api, vm) == before


async def test_a_resize_without_a_size_is_refused(api: Api, vm: str) -> None:
    for body in ({}, {"memory_mib": None}, {"cpus": 2}):
        assert (await api.call("POST", f"/v1/vms/{vm}/resize", body)).refusal == (400, "bad_request")
    assert (await api.call("POST", "/v1/vms/none/resize", {"vcpu_count": 1})).refusal == (404, "not_found")
    assert (await api.call("POST", "/v1/vms/ubuntu/resize", {"vcpu_count": 1})).refusal == (403, "forbidden")


async def test_durable_vms_are_unsupported(api: Api) -> None:
    reply = await api.call("POST", "/v1/fork", {"source_vm_name": "ubuntu", "durable": True})
    assert reply.refusal == (422, "unsupported_operation")
    assert reply.message.startswith("durable:")
    await api.fork("ubuntu", durable=False)
