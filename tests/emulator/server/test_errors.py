"""What is refused is named: the field, the parameter or the id (contract, sections 3 and 5)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.server.support import Api

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "named"),
    [
        ("POST", "/v1/fork", {"source_vm_name": "nobody"}, 404, "source_vm_name:"),
        ("POST", "/v1/fork", {"source_vm_id": "nobody"}, 404, "source_vm_id:"),
        ("POST", "/v1/fork", {}, 400, "source_vm_id, source_vm_name, image:"),
        ("POST", "/v1/fork", {"source_vm_name": "ubuntu", "name": "taken"}, 409, "name:"),
        ("POST", "/v1/fork", {"source_vm_name": "x", "name": "ubuntu-docker"}, 404, "source_vm_name:"),
        ("POST", "/v1/fork", {"source_vm_name": "ubuntu", "name": "ubuntu-docker"}, 409, "name:"),
        ("POST", "/v1/fork", {"source_vm_name": "ubuntu", "durable": True}, 422, "durable:"),
        ("POST", "/v1/fork", {"source_vm_name": "ubuntu", "max_memory_mib": 0}, 400, "max_memory_mib:"),
        ("POST", "/v1/vms/{vm}/runs", {"command": "true", "session_id": "x"}, 404, "session_id:"),
        ("POST", "/v1/vms/{vm}/runs", {"command": "true", "session_idx": -7}, 400, "session_idx:"),
        ("POST", "/v1/vms/{vm}/runs", {"command": "", "signal": "INT"}, 404, "signal:"),
        ("GET", "/v1/vms/{vm}/sessions/x", None, 404, "session_id:"),
        ("GET", "/v1/vms/{vm}/sessions?limit=none", None, 400, "limit:"),
        ("GET", "/v1/vms/{vm}/runs?cursor=none", None, 400, "cursor:"),
        ("GET", "/v1/vms?started_after=yesterday", None, 400, "started_after:"),
        ("POST", "/v1/vms/{vm}/sync", {"op": "list"}, 400, "op:"),
        ("POST", "/v1/vms/{vm}/sync", {"op": "read"}, 400, "path:"),
        ("POST", "/v1/vms/{vm}/sync", {"op": "write", "writes": {}}, 400, "writes:"),
    ],
)
async def test_the_message_begins_with_what_is_wrong(
    api: Api, method: str, path: str, body: Any, status: int, named: str
) -> None:
    vm = await api.fork(name="taken")
    reply = await api.call(method, path.format(vm=vm["vm_id"]), body)
    assert reply.status == status
    assert reply.message.startswith(named)


async def test_a_bad_idempotency_key_is_named(api: Api, vm: str) -> None:
    for path, body in (("/v1/fork", {"source_vm_id": vm}), (f"/v1/vms/{vm}/runs", {"command": "true"})):
        reply = await api.call("POST", path, body, idempotency_key="x" * 256)
        assert reply.refusal == (400, "bad_request")
        assert reply.message.startswith("Idempotency-Key:")
