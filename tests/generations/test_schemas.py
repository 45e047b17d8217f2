"""The schemas themselves: whole, and able to refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.generations.schemas.check import Wrong, check, check_reply, check_request
from tests.generations.schemas.errors import NAMES, STATUSES
from tests.generations.schemas.operations import OPERATIONS, SCHEMAS

_AUTHORIZED = {"Authorization": "Bearer x", "Content-Type": "application/json"}
_SENT_BACK = {"Content-Type": "application/json"}
_METADATA = {
    "message": "no",
    "timestamp": "2026-11-02T10:00:00Z",
    "request_id": "r",
    "request": {"kind": "matched", "operation_id": "getVm"},
}


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        members: dict[str, Any] = node  # pyright: ignore[reportUnknownVariableType]
        own = {str(members["$ref"]).removeprefix("#/$defs/")} if "$ref" in members else set[str]()
        return own.union(*[_references(value) for value in members.values()])
    if isinstance(node, list):
        return set[str]().union(*[_references(value) for value in node])  # pyright: ignore[reportUnknownVariableType]
    return set()


def test_every_schema_is_one_and_every_reference_leads_somewhere() -> None:
    for name, schema in SCHEMAS.items():
        Draft202012Validator.check_schema(schema)
        assert _references(schema) <= set(SCHEMAS), name
    for operation in OPERATIONS:
        names = {name for name in (operation.takes, *operation.gives.values()) if name is not None}
        assert names <= set(SCHEMAS), operation.name
        assert operation.errors <= set(STATUSES), operation.name
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS) == 44
    assert set(NAMES) == set(STATUSES)
    assert len(STATUSES) == 24


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ForkRequest", {"source_vm_id": "x", "image": None}),
        ("ForkRequest", {"source_vm_name": "x", "source_org_name": "ArkerHQ", "resources": {"vgpu": 0.125}}),
        ("ForkRequest", {"image": "alpine", "command": "true", "policies": {"rules": {"a": None}}}),
        ("RunRequest", {"command": "x", "time_to_background": 0, "signal": None}),
        ("PatchVmRequest", {"description": None}),
        ("Gate", {"host": "https://x", "allow_on_status": [200], "body": [None]}),
        ("PolicyMatch", {"ports": [80, [8000, 9000]]}),
    ],
)
def test_what_the_contract_allows(name: str, value: Any) -> None:
    check("it", name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ForkRequest", {}),
        ("ForkRequest", {"source_vm_id": None}),
        ("ForkRequest", {"source_vm_id": "x", "source_org_id": "y"}),
        ("ForkRequest", {"source_vm_id": "x", "vcpu_count": 2}),
        ("ForkRequest", {"source_vm_id": "x", "pool_name": "p", "pool_id": "8a0c8b52-6d93-4f8e-8d43-111111111111"}),
        ("ForkRequest", {"source_vm_id": "x", "pool_id": "pool"}),
        ("ForkRequest", {"source_vm_id": "x", "layers": []}),
        ("ForkRequest", {"source_vm_id": "x", "policies": {"rules": {"A": None}}}),
        ("ResourcesInput", {"vcpu": 0}),
        ("ResourcesInput", {"vgpu": 3}),
        ("RunRequest", {"command": "x", "timeout": 0.5}),
        ("RunRequest", {"command": "x", "time_to_background": 301}),
        ("RunRequest", {"command": "x", "signal": "INT"}),
        ("RunRequest", {"command": "x", "timeout": True}),
        ("RunRequest", {"command": "x", "timeout": 2.0}),
        ("SyncWriteOperationRequest", {"op": "write", "writes": []}),
        ("SyncWriteOperationRequest", {"op": "write", "writes": [{"path": "x", "size": 1}]}),
        ("LifecycleRule", {"type": "lifecycle", "when": {}, "action": "delete"}),
        ("MeasuredQuota", {"kind": "measured"}),
        ("RecoveryDetails", {"run_id": "r"}),
        ("HealthResponse", {"status": "ok", "timestamp": "yesterday"}),
        ("HealthResponse", {"status": "ok", "timestamp": "2026-13-02T10:00:00Z"}),
        ("GpuSmsInsufficientResourcesDetails", {"resource": "gpu"}),
    ],
)
def test_what_the_contract_refuses(name: str, value: Any) -> None:
    with pytest.raises(Wrong):
        check("it", name, value)


def _error(**changes: Any) -> bytes:
    return json.dumps({"error": {"code": "not_found", "details": {"resource": "vm"}, **_METADATA, **changes}}).encode()


def test_an_error_of_an_operation() -> None:
    check_reply("GET", "/v1/vms/x", 404, _SENT_BACK, _error(more=1), closed=False)
    check_reply("GET", "/v1/vms/x", 404, _SENT_BACK, _error(more=1))  # an error is open


@pytest.mark.parametrize(
    ("method", "path", "status", "content"),
    [
        ("GET", "/v1/vms/x", 400, _error()),
        ("GET", "/v1/vms/x", 404, _error(details={"resource": "vm", "more": 1})),
        ("GET", "/v1/vms/x", 404, _error(details={"resource": "cat"})),
        ("GET", "/v1/vms/x", 404, _error(timestamp="now")),
        ("GET", "/v1/vms/x", 404, _error(request={"kind": "unmatched", "method": "GET"})),
        ("GET", "/v1/vms/x", 409, _error(code="conflict")),
        ("GET", "/v1/vms/x", 401, _error(code="unauthorized")),
        ("GET", "/v1/vms/x", 503, _error(code="unavailable", retry_after_seconds=2)),
        ("PATCH", "/v1/fork", 405, _error(code="method_not_allowed", details={"allowed_methods": ["POST"]})),
        ("GET", "/v1/vms/x", 404, b'{"code": "not_found", "message": "flat"}'),
        ("GET", "/v1/vms/x", 404, _error()[:-1] + b', "code": "not_found"}'),
        ("GET", "/v1/nowhere", 404, _error()),
        ("GET", "/v1/nowhere", 200, b"{}"),
        ("GET", "/v1/whoami", 201, b'{"org_id": "o", "org_name": "o"}'),
        ("GET", "/v1/whoami", 200, b'{"org_id": "o", "org_name": "o", "more": 1}'),
    ],
)
def test_replies_that_are_wrong(method: str, path: str, status: int, content: bytes) -> None:
    with pytest.raises(Wrong):
        check_reply(method, path, status, _SENT_BACK, content)


def test_a_request() -> None:
    check_request("GET", "/v1/vms?limit=5&public=True", _AUTHORIZED, b"")
    check_request("GET", "/v1/health", {}, b"")
    check_request("POST", "/v1/fork", {**_AUTHORIZED, "Idempotency-Key": "a b"}, b'{"source_vm_id": "ubuntu"}')


@pytest.mark.parametrize(
    ("method", "target", "headers", "content"),
    [
        ("GET", "/v1/vms/x", {}, b""),
        ("GET", "/v1/vms?source_org_id=x", _AUTHORIZED, b""),
        ("GET", "/v1/vms?limit=0", _AUTHORIZED, b""),
        ("GET", "/v1/vms?public=yes", _AUTHORIZED, b""),
        ("POST", "/v1/vms/x/resize", _AUTHORIZED, b"{}"),
        ("POST", "/v1/fork", {**_AUTHORIZED, "Idempotency-Key": "k" * 65}, b'{"source_vm_id": "ubuntu"}'),
        ("POST", "/v1/fork", {"Authorization": "Bearer x"}, b'{"source_vm_id": "ubuntu"}'),
        ("DELETE", "/v1/vms/x", _AUTHORIZED, b"{}"),
    ],
)
def test_requests_that_are_wrong(method: str, target: str, headers: dict[str, str], content: bytes) -> None:
    with pytest.raises(Wrong):
        check_request(method, target, headers, content)
