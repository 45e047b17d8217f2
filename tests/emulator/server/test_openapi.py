"""The OpenAPI document. That replies are as it says is checked in every test that uses `Api.call`."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from arker.emulator.options import GenerationName
from arker.emulator.server.openapi import document
from arker.emulator.server.operation import Described
from arker.emulator.server.routes import OPERATIONS
from tests.emulator.server.conformance import conform
from tests.emulator.server.support import Api

pytestmark = pytest.mark.anyio


async def test_it_is_served_at_the_base_url_without_a_token(api: Api) -> None:
    reply = await api.raw("GET", f"{api.url}/openapi.json")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.json == document(api.url)
    assert reply.json["servers"] == [{"url": api.url}]


def test_it_has_every_operation_of_the_contract() -> None:
    paths = document("http://x", "0.5")["paths"]
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == {
        ("POST", "/v1/fork"), ("GET", "/v1/vms"), ("GET", "/v1/runs"), ("GET", "/v1/vms/{vm_id}"),
        ("DELETE", "/v1/vms/{vm_id}"), ("POST", "/v1/vms/{vm_id}/resize"), ("POST", "/v1/vms/{vm_id}/runs"),
        ("GET", "/v1/vms/{vm_id}/runs"), ("GET", "/v1/vms/{vm_id}/runs/{run_id}"),
        ("DELETE", "/v1/vms/{vm_id}/runs/{run_id}"), ("GET", "/v1/vms/{vm_id}/sessions"),
        ("POST", "/v1/vms/{vm_id}/sessions"), ("GET", "/v1/vms/{vm_id}/sessions/{session_id}"),
        ("DELETE", "/v1/vms/{vm_id}/sessions/{session_id}"), ("GET", "/v1/vms/{vm_id}/tunnels"),
        ("POST", "/v1/vms/{vm_id}/tunnels"), ("GET", "/v1/vms/{vm_id}/tunnels/{tunnel_key}"),
        ("DELETE", "/v1/vms/{vm_id}/tunnels/{tunnel_key}"), ("GET", "/v1/vms/{vm_id}/syncs"),
        ("POST", "/v1/vms/{vm_id}/syncs"), ("DELETE", "/v1/vms/{vm_id}/syncs/{sync_id}"),
        ("GET", "/v1/filesystems"), ("POST", "/v1/filesystems"), ("GET", "/v1/filesystems/{filesystem_id}"),
        ("DELETE", "/v1/filesystems/{filesystem_id}"), ("POST", "/v1/vms/{vm_id}/sync"),
    }  # fmt: skip
    new = document("http://x", "1")["paths"]
    assert {(method.upper(), path) for path, methods in new.items() for method in methods} == {
        ("GET", "/v1/health"), ("GET", "/v1/regions"), ("GET", "/v1/whoami"), ("POST", "/v1/fork"), ("GET", "/v1/vms"),
        ("GET", "/v1/runs"), ("GET", "/v1/vms/{vm_id}"), ("DELETE", "/v1/vms/{vm_id}"), ("PATCH", "/v1/vms/{vm_id}"),
        ("GET", "/v1/vms/{vm_id}/policies"), ("PUT", "/v1/vms/{vm_id}/policies"), ("POST", "/v1/vms/{vm_id}/runs"),
        ("GET", "/v1/vms/{vm_id}/runs"), ("GET", "/v1/vms/{vm_id}/runs/{run_id}"),
        ("DELETE", "/v1/vms/{vm_id}/runs/{run_id}"), ("GET", "/v1/vms/{vm_id}/sessions"),
        ("POST", "/v1/vms/{vm_id}/sessions"), ("GET", "/v1/vms/{vm_id}/sessions/{session_id}"),
        ("PATCH", "/v1/vms/{vm_id}/sessions/{session_id}"), ("DELETE", "/v1/vms/{vm_id}/sessions/{session_id}"),
        ("POST", "/v1/vms/{vm_id}/sessions/{session_id}/pty-ticket"),
        ("GET", "/v1/vms/{vm_id}/sessions/{session_id}/pty"), ("GET", "/v1/vms/{vm_id}/mounts"),
        ("POST", "/v1/vms/{vm_id}/mounts"), ("DELETE", "/v1/vms/{vm_id}/mounts/{mount_id}"),
        ("POST", "/v1/vms/{vm_id}/sync"), ("GET", "/v1/filesystems"), ("POST", "/v1/filesystems"),
        ("GET", "/v1/filesystems/{filesystem_id}"), ("DELETE", "/v1/filesystems/{filesystem_id}"),
        ("GET", "/v1/pools"), ("POST", "/v1/pools"), ("GET", "/v1/pools/{pool_id}"), ("PATCH", "/v1/pools/{pool_id}"),
        ("DELETE", "/v1/pools/{pool_id}"), ("GET", "/v1/pools/{pool_id}/workers"), ("GET", "/v1/api-keys"),
        ("POST", "/v1/api-keys"), ("DELETE", "/v1/api-keys/{api_key_id}"),
    }  # fmt: skip
    both = document("http://x", "both")["paths"]
    for path in {*paths, *new}:
        assert both[path].keys() == {*paths.get(path, {}), *new.get(path, {})}
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize("generation", ["both", "0.5", "1"])
def test_every_schema_is_one_and_every_reference_leads_somewhere(generation: GenerationName) -> None:
    whole = document("http://x", generation)
    for schema in whole["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)

    def follow(node: Any) -> None:
        if isinstance(node, dict):
            members: dict[str, Any] = node  # pyright: ignore[reportUnknownVariableType]
            target: Any = whole
            for step in str(members.get("$ref", "#")).split("/")[1:]:
                target = target[step]
            for value in members.values():
                follow(value)
        elif isinstance(node, list):
            for value in node:  # pyright: ignore[reportUnknownVariableType]
                follow(value)

    follow(whole)


@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.name for operation in OPERATIONS])
async def test_junk_in_any_parameter_is_answered_as_documented(api: Api, vm: str, operation: Described) -> None:
    path = operation.path.replace("{vm_id}", vm)
    for junk in ("x", "%00", "%FF%2F", "%F0%9F%98%80"):
        method = "GET" if operation.name == "delete_vm" else operation.method
        await api.call(method, re.sub(r"\{\w+\}", junk, path))
        await api.call(operation.method, operation.path.replace("{vm_id}", junk).replace("{", "").replace("}", ""))
    if operation.name == "delete_vm":
        return
    path = re.sub(r"\{\w+\}", "x", path)
    for name in (*operation.query, "unknown"):
        for junk in (
            "",
            "0",
            "-1",
            "1" * 40,
            "x",
            "true",
            ",",
            "%00",
            "%FF",
            "a%20b",
            "2026-01-01T00:00:00Z",
            "x&" * 3,
        ):
            await api.call(operation.method, f"{path}?{name}={junk}")


def error_body(code: str, **details: str) -> bytes:
    error = {
        "code": code,
        "message": "text",
        "timestamp": "2026-01-01T00:00:00Z",
        "request_id": "req_1",
        "request": {"kind": "matched", "operation_id": "cancelRun"},
        "details": details or {"resource": "run"},
    }
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, b'{"cancelled": "yes"}'),
        (200, b'{"cancelled": true, "more": 1}'),
        (200, b"{}"),
        (404, error_body("conflict")),
        (404, b'{"error": {"code": "not_found", "message": "x"}}'),
        (404, b'{"code": "not_found", "message": "flat"}'),
        (404, error_body("not_found", resource="thing")),
        (404, error_body("not_found", resource="run", more="x")),
        (418, error_body("not_found")),
    ],
)
def test_the_check_of_replies_finds_what_is_wrong(status: int, content: bytes) -> None:
    conform("DELETE", "/v1/vms/x/runs/y", 200, b'{"cancelled": true}')
    conform("DELETE", "/v1/vms/x/runs/y", 404, error_body("not_found"))
    with pytest.raises(AssertionError):
        conform("DELETE", "/v1/vms/x/runs/y", status, content)
