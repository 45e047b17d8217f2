"""What every request has in common: tokens, request ids, error bodies, unknown paths (contract, section 3)."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from arker.emulator import Emulator
from tests.emulator.server.support import Api, chunk

pytestmark = pytest.mark.anyio


async def test_a_request_without_a_valid_token_is_unauthorized(api: Api) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": api.key}, {"Authorization": "Bearer "}):
        reply = await api.raw("GET", f"{api.url}/v1/vms", headers=headers)
        assert reply.refusal == (401, "unauthorized")
        assert api.key not in reply.content.decode()


async def test_every_answer_has_a_request_id_of_its_own(api: Api) -> None:
    replies = [
        await api.call("GET", "/v1/vms"),
        await api.call("GET", "/v1/vms/none"),
        await api.call("GET", "/nowhere"),
        await api.raw("GET", f"{api.url}/v1/vms"),
        await api.raw("PUT", api.url.replace("/api", "/presigned/x")),
    ]
    ids = [reply.headers["x-request-id"] for reply in replies]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("path", ["/nowhere", "/v1/vms/", "/v1/vms/a/b/c/d", "/v1/fork/x", "/v2/vms"])
async def test_an_unknown_path_is_not_found(api: Api, path: str) -> None:
    assert (await api.call("GET", path)).refusal == (404, "not_found")


async def test_an_unknown_method_is_not_found(api: Api) -> None:
    assert (await api.call("PATCH", "/v1/vms")).refusal == (405, "method_not_allowed")


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff", b'{"command": "\\ud800"}', b"{}" + b"9" * 400])
async def test_a_body_that_is_no_json_object_is_refused(api: Api, vm: str, body: bytes) -> None:
    assert (await api.call("POST", f"/v1/vms/{vm}/runs", body)).refusal == (400, "bad_request")


async def test_a_body_beyond_the_limit_is_too_large(api: Api, vm: str) -> None:
    body = b'{"command": "' + b"x" * (33 * 1024 * 1024) + b'"}'
    assert (await api.call("POST", f"/v1/vms/{vm}/runs", body)).refusal == (413, "payload_too_large")


async def test_a_name_with_every_sort_of_character_is_found_percent_encoded(api: Api) -> None:
    name = "a/b c%2F{x}?ü#..;"
    vm = await api.fork(name=name)
    path = "/v1/vms/" + "".join(f"%{byte:02X}" for byte in name.encode())
    assert (await api.get(path))["vm_id"] == vm["vm_id"]


JUNK: tuple[Any, ...] = (
    0, -1, 2**63, 1.5, 1e308, True, "", " ", "x", "\u0000", "\uffff", "a" * 70_000, "../..",
    [], [None], {}, {"a": {}},
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/fork", dict.fromkeys(
            ("source_vm_name", "source_vm_id", "source_org_id", "name", "public", "network", "disk", "vcpu_count",
             "memory_mib", "max_memory_mib", "disk_mib", "durable", "tunnel"))),
        ("/v1/fork", {"source_vm_name": "nothing", **dict.fromkeys(
            ("image", "dockerfile", "source_org_name", "description", "resources", "policies", "layers", "platforms",
             "nestedvirt", "registry_auth", "ssh_public_keys", "queueing_timeout", "pool_id", "pool_name",
             "command"))}),
        ("/v1/vms/{vm}/runs", {"command": "true", **dict.fromkeys(
            ("session_id", "session_idx", "background", "timeout", "end_symbol", "vcpu_count", "memory_mib", "disk_mib",
             "network", "acquire", "release", "signal", "time_to_background", "queueing_timeout", "policies"))}),
        ("PATCH /v1/vms/{vm}", dict.fromkeys(
            ("description", "resources", "policies", "ssh_public_keys", "pool_id", "pool_name"))),
        ("PUT /v1/vms/{vm}/policies", dict.fromkeys(("policies", "secrets", "hostname"))),
        ("/v1/vms/{vm}/mounts", dict.fromkeys(("filesystem_id", "path"))),
        ("/v1/vms/{vm}/resize", dict.fromkeys(("vcpu_count", "memory_mib", "disk_mib"))),
        ("/v1/vms/{vm}/sessions", dict.fromkeys(("env", "cwd", "pty", "cols", "rows", "command"))),
        ("/v1/vms/{vm}/sync", {"op": "read", "path": "x", "writes": None}),
        ("/v1/vms/{vm}/sync", {"op": "manifest", "path": "x"}),
        ("/v1/vms/{vm}/sync", {"op": "write", "path": None, "writes": []}),
    ],
)  # fmt: skip
async def test_junk_in_any_field_is_never_the_servers_failure(
    api: Api, vm: str, path: str, body: dict[str, Any]
) -> None:
    method, _, path = path.rpartition(" ")
    for name in body:
        for junk in JUNK:
            reply = await api.call(method or "POST", path.format(vm=vm), {**body, name: junk})
            assert reply.status in {200, 202} or reply.refusal in {
                (400, "bad_request"), (404, "not_found"), (409, "conflict"), (422, "unsupported_operation"),
            }, (name, junk, reply)  # fmt: skip


async def test_junk_in_any_field_of_an_entry_is_the_entrys_error(api: Api, vm: str) -> None:
    entry = chunk("file", b"data", sha256=None, presigned=None)
    entries = [entry | {name: junk} for name in entry for junk in JUNK]
    for result in await api.write(vm, *entries):
        if "error" in result:
            assert result["error"]["code"] in {"bad_request", "not_found", "conflict"}, result
        else:
            assert "presigned_url" in result or result["received_bytes"] == 4


async def test_the_server_listens_on_loopback_only(emulator: Emulator) -> None:
    port = int(emulator.url.removesuffix("/api").rpartition(":")[2])
    with socket.socket() as sock:
        # Any other address of this machine; 127.0.0.2 is one that every Linux has.
        assert sock.connect_ex(("127.0.0.2", port)) != 0
