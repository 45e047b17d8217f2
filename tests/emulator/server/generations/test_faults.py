"""Faults and the journal know both names of an operation."""

from __future__ import annotations

import pytest

from arker.emulator import Emulator
from tests.emulator.server.support import Api

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", ["create_sync", "create_mount"])
async def test_a_rule_for_either_name_is_for_both(both: Api, servers: dict[str, Emulator], name: str) -> None:
    emulator = next(server for server in servers.values() if server.url == both.url)
    path = f"/v1/vms/{(await both.fork())['vm_id']}"
    filesystem = (await both.call("POST", "/v1/filesystems", {"name": "data"})).json["filesystem_id"]
    with emulator.faults.error(operation=name, times=None, status=503, retry_after=2) as fault:  # type: ignore[arg-type]
        for below in ("syncs", "mounts"):
            reply = await both.call("POST", f"{path}/{below}", {"filesystem_id": filesystem})
            assert (reply.status, reply.json["error"]["retry_after_seconds"]) == (503, 2)
    assert fault.fired == 2
    noted = [entry.operation for entry in emulator.journal.requests()][-2:]
    assert noted == ["create_sync", "create_mount"]


async def test_a_rule_for_a_resize_is_for_a_change(both: Api, servers: dict[str, Emulator]) -> None:
    emulator = next(server for server in servers.values() if server.url == both.url)
    path = f"/v1/vms/{(await both.fork())['vm_id']}"
    with emulator.faults.error(operation="resize", status=503) as fault:
        assert (await both.call("PATCH", path, {"resources": {"vcpu": 2}})).status == 503
    assert fault.fired == 1


async def test_an_error_keeps_the_code_that_a_test_has_chosen(each: Api, servers: dict[str, Emulator]) -> None:
    emulator = next(server for server in servers.values() if server.url == each.url)
    emulator.faults.error(operation="list_vms", status=429, code="quota_exceeded")
    reply = await each.raw("GET", f"{each.url}/v1/vms", headers={"Authorization": f"Bearer {each.key}"})
    assert reply.refusal == (429, "quota_exceeded")
    if each.generation != "0.5":
        assert reply.details["limit"] == {"metric": "vcpus", "unit": "vcpus"}
