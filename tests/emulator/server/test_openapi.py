"""The OpenAPI document. That replies are as it says is checked in every test that uses `Api.call`."""

from __future__ import annotations

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from arker.emulator.server.openapi import document
from arker.emulator.server.routes import OPERATIONS, Operation
from tests.emulator.server.conformance import conform
from tests.emulator.server.support import Api

pytestmark = pytest.mark.anyio


async def test_it_is_served_at_the_base_url_without_a_token(api: Api) -> None:
    reply = await api.raw("GET", f"{api.url}/openapi.json")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.json == document(api.url)
    assert reply.json["servers"] == [{"url": api.url}]


def test_it_has_every_operation_of_the_contract() -> None:
    paths = document("http://x")["paths"]
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
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)


def test_every_schema_is_one_and_every_reference_leads_somewhere() -> None:
    whole = document("http://x")
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
async def test_junk_in_any_parameter_is_answered_as_documented(api: Api, vm: str, operation: Operation) -> None:
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


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, b'{"cancelled": "yes"}'),
        (200, b'{"cancelled": true, "more": 1}'),
        (200, b"{}"),
        (404, b'{"code": "conflict", "message": "another status"}'),
        (404, b'{"code": "not_found"}'),
        (418, b'{"code": "not_found", "message": "x"}'),
    ],
)
def test_the_check_of_replies_finds_what_is_wrong(status: int, content: bytes) -> None:
    conform("DELETE", "/v1/vms/x/runs/y", 200, b'{"cancelled": true}')
    with pytest.raises(AssertionError):
        conform("DELETE", "/v1/vms/x/runs/y", status, content)
