"""The service itself: health, regions, whose key it is, errors, and what an organisation does not have."""

from __future__ import annotations

import re

import pytest

from tests.emulator.server.support import OTHER_KEY, OTHER_ORG, Api

pytestmark = pytest.mark.anyio


async def test_health_and_regions_need_no_key(today: Api) -> None:
    health = await today.raw("GET", f"{today.url}/v1/health")
    assert (health.status, health.json["status"]) == (200, "ok")
    (region,) = (await today.raw("GET", f"{today.url}/v1/regions")).json["regions"]
    assert (region["provider"], region["region"], region["endpoint"]) == ("aws", "us-west-2", today.url)
    assert "linux" in region["platforms"]
    for path in ("/v1/health", "/v1/regions"):
        assert (await today.call("GET", path)).status == 200


async def test_whose_key_it_is(today: Api) -> None:
    assert await today.get("/v1/whoami") == {"org_id": "org_local", "org_name": "org_local"}
    other = Api(today.session, today.url, OTHER_KEY, today.generation)
    assert (await other.get("/v1/whoami"))["org_id"] == OTHER_ORG
    reply = await today.raw("GET", f"{today.url}/v1/whoami")
    assert (reply.refusal, reply.headers["WWW-Authenticate"]) == ((401, "unauthorized"), "Bearer")


@pytest.mark.parametrize("path", ["/v1/health", "/v1/regions", "/v1/whoami", "/v1/pools", "/v1/api-keys"])
async def test_generation_05_has_none_of_these(old: Api, path: str) -> None:
    assert (await old.call("GET", path)).refusal == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "resource"),
    [
        ("GET", "/v1/pools", "pool"),
        ("POST", "/v1/pools", "pool"),
        ("GET", "/v1/pools/x", "pool"),
        ("PATCH", "/v1/pools/x", "pool"),
        ("DELETE", "/v1/pools/x", "pool"),
        ("GET", "/v1/pools/x/workers", "pool"),
        ("GET", "/v1/api-keys", "api_key"),
        ("POST", "/v1/api-keys", "api_key"),
        ("DELETE", "/v1/api-keys/x", "api_key"),
    ],
)
async def test_the_organisation_has_no_pools_and_keys(today: Api, method: str, path: str, resource: str) -> None:
    reply = await today.call(method, path, {} if method in {"POST", "PATCH"} else None)
    assert (reply.refusal, reply.details) == ((404, "not_found"), {"resource": resource})
    assert reply.json["error"]["request"]["kind"] == "matched"


async def test_an_error_says_what_it_is_about(today: Api) -> None:
    reply = await today.call("GET", "/v1/vms/nothing")
    error = reply.json["error"]
    assert (error["code"], error["details"]) == ("not_found", {"resource": "vm"})
    assert error["request"] == {"kind": "matched", "operation_id": "getVm"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", error["timestamp"])
    nowhere = (await today.call("GET", "/v1/nowhere")).json["error"]
    assert nowhere["request"] == {"kind": "unmatched", "method": "GET"}
    assert nowhere["details"] == {"resource": "route"}


async def test_a_method_that_there_is_not(today: Api, old: Api) -> None:
    reply = await today.call("PUT", "/v1/fork", {})
    assert (reply.refusal, reply.details) == ((405, "method_not_allowed"), {"allowed_methods": ["POST"]})
    assert reply.headers["Allow"] == "POST"
    assert (await old.call("PUT", "/v1/fork", {})).refusal == (404, "not_found")


async def test_names_that_are_taken(today: Api, old: Api) -> None:
    for api, code in ((today, "already_exists"), (old, "conflict")):
        body = {"source_vm_name": "ubuntu", "name": "taken"}
        await api.call("POST", "/v1/fork", body)
        assert (await api.call("POST", "/v1/fork", body)).refusal == (409, code)
        await api.call("POST", "/v1/filesystems", {"name": "taken"})
        assert (await api.call("POST", "/v1/filesystems", {"name": "taken"})).refusal == (409, code)


async def test_rows_have_no_gaps(today: Api, old: Api) -> None:
    vm = (await today.fork())["vm_id"]
    await today.run(vm, "true")
    await today.call("GET", "/v1/vms/nothing")
    rows = (await today.get("/v1/runs"))["rows"]
    assert len({frozenset(row) for row in rows}) == 1
    assert (rows[0]["run_id"], rows[0]["vm_id"], rows[0]["exit_code"], rows[0]["provider"]) == ("", "", None, "")
    assert rows[1]["provider"] == "aws"
    for sort in ("when", "status", "path", "total", "queue", "your_code", "runtime"):
        assert len((await today.get(f"/v1/runs?sort={sort}&lite=True&limit=20000"))["rows"]) >= 3
    await old.call("GET", "/v1/vms/nothing")
    (row,) = (await old.get("/v1/runs"))["rows"]
    assert "run_id" not in row


async def test_the_document_follows_the_option(each: Api) -> None:
    paths = (await each.raw("GET", f"{each.url}/openapi.json")).json["paths"]
    assert ("/v1/health" in paths) == (each.generation != "0.5")
    assert ("/v1/vms/{vm_id}/resize" in paths) == (each.generation != "1")


async def test_rows_show_no_secret(today: Api) -> None:
    for fields in (
        {"registry_auth": {"username": "me", "password": 'hidden "1'}},
        {"policies": {"secrets": {"A": "hidden}", "B": 'also "hidden'}}},
    ):
        await today.call("POST", "/v1/fork", {"source_vm_name": "ubuntu", **fields})
    rows = (await today.get("/v1/runs?endpoint=fork"))["rows"]
    assert len(rows) == 2
    assert all("ubuntu" in row["body_in"] and "hidden" not in row["body_in"] for row in rows)
