"""Pools and API keys of the organisation: what the client puts on the wire, and what it makes of the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from arker import (
    AlreadyExistsError,
    ApiKeyScope,
    AsyncArker,
    CreatedApiKey,
    CreatePoolByoc,
    InvalidArgumentError,
    ListApiKeysResponse,
    ListPoolsResponse,
    ListPoolWorkersResponse,
    NetworkError,
    NotFoundError,
    Pool,
    PoolCommitment,
    PoolResources,
    RevokeApiKeyResponse,
    UnsupportedOperationError,
)
from tests.support.clients import COMPUTE, CONTROL, make_client
from tests.support.samples import full
from tests.support.secrets import API_KEY, CREATED_KEY
from tests.support.server import Drop, Reply, ScriptedServer, dropped, error, ok
from tests.support.today import nested

pytestmark = pytest.mark.anyio

SIZE = {"vcpu": 8, "memory_mib": 1024, "disk_mib": 2048}
DAY = {"starts_at": "2026-11-01T00:00:00Z", "ends_at": "2026-11-02T00:00:00Z"}
ACCOUNT = {"account_id": "123456789012", "subnet_ids": ["subnet-1"]}
NO_POOLS = nested("not_found", "no pools", status=404, details={"resource": "pool"})


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[AsyncArker]:
    async with make_client(server, generation="1", strict_replies=True) as client:
        yield client


# --- pools -----------------------------------------------------------------------------------------------------------


async def test_lists_of_pools(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok(full(ListPoolsResponse)), ok({"pools": [full(Pool)], "next_cursor": None}))
    page = await client.list_pools(limit=2)
    assert (server.last.method, server.last.target) == ("GET", f"{CONTROL}/v1/pools?limit=2")
    (pool,) = page
    assert pool.byoc is not None
    assert (pool.name, pool.state, pool.byoc.account_id) == ("batch", "running", "123456789012")
    assert pool.resources == PoolResources(vcpu=64, memory_mib=262144, disk_mib=1048576)
    rest = [each.pool_id async for each in client.iter_pools(cursor=page.next_cursor)]
    assert rest == [pool.pool_id]
    assert server.last.target == f"{CONTROL}/v1/pools?cursor=c2"


CREATED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"type": "managed", "platform": "linux", "resources": SIZE, "name": "n", "commitments": [DAY]},
        {"type": "managed", "platform": "linux", "resources": SIZE, "name": "n", "commitments": [DAY]},
    ),
    (
        {
            "type": "managed",
            "platform": "linux",
            "resources": PoolResources(vcpu=8, memory_mib=1024, disk_mib=2048),
            "commitments": (PoolCommitment(starts_at=DAY["starts_at"], ends_at=DAY["ends_at"]),),
        },
        {"type": "managed", "platform": "linux", "resources": SIZE, "commitments": [DAY]},
    ),
    (
        {"type": "byoc", "platform": "linux", "resources": SIZE, "isolation": ["vms", "vms"], "byoc": ACCOUNT},
        {
            "type": "byoc",
            "provider": "aws",
            "platform": "linux",
            "resources": SIZE,
            "isolation": ["vms"],
            "byoc": ACCOUNT,
        },
    ),
    (
        {
            "type": "byoc",
            "platform": "linux",
            "resources": SIZE,
            "byoc": CreatePoolByoc(account_id="123456789012", subnet_ids=["subnet-1"], instance_types=["c7.metal"]),
        },
        {
            "type": "byoc",
            "provider": "aws",
            "platform": "linux",
            "resources": SIZE,
            "byoc": {**ACCOUNT, "instance_types": ["c7.metal"]},
        },
    ),
    ({"type": "self_hosted"}, {"type": "self_hosted"}),
]


@pytest.mark.parametrize(("arguments", "body"), CREATED)
async def test_create_pool(
    server: ScriptedServer, client: AsyncArker, arguments: dict[str, Any], body: dict[str, Any]
) -> None:
    server.script(Reply(status=201, body=ok(full(Pool)).body))
    pool = await client.create_pool(**arguments)
    assert pool.pool_id == full(Pool)["pool_id"]
    assert (server.last.method, server.last.target, server.last.json) == ("POST", f"{COMPUTE}/v1/pools", body)
    assert server.last.key is None


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"type": "cloud"}, "type"),
    ({"type": "managed", "resources": SIZE}, "platform"),
    ({"type": "managed", "platform": "linux"}, "resources"),
    ({"type": "managed", "platform": "Linux", "resources": SIZE}, "platform"),
    ({"type": "managed", "platform": "linux", "resources": {"vcpu": 1}}, "resources"),
    ({"type": "managed", "platform": "linux", "resources": {**SIZE, "vcpu": -1}}, "resources['vcpu']"),
    ({"type": "managed", "platform": "linux", "resources": SIZE, "byoc": ACCOUNT}, "byoc"),
    ({"type": "managed", "platform": "linux", "resources": SIZE, "commitments": DAY}, "commitments"),
    ({"type": "managed", "platform": "linux", "resources": SIZE, "commitments": [{}]}, "commitments[0]"),
    (
        {"type": "managed", "platform": "l", "resources": SIZE, "commitments": [{**DAY, "ends_at": ""}]},
        "commitments[0]['ends_at']",
    ),
    ({"type": "byoc", "platform": "linux", "resources": SIZE}, "byoc"),
    (
        {"type": "byoc", "platform": "linux", "resources": SIZE, "byoc": {**ACCOUNT, "account_id": "12"}},
        "byoc['account_id']",
    ),
    ({"type": "byoc", "platform": "l", "resources": SIZE, "byoc": {**ACCOUNT, "subnet_ids": []}}, "byoc['subnet_ids']"),
    (
        {"type": "byoc", "platform": "l", "resources": SIZE, "byoc": ACCOUNT, "isolation": ["hosts"]},
        "isolation[0]",
    ),
    ({"type": "self_hosted", "platform": "linux"}, "platform"),
    ({"type": "self_hosted", "name": "n" * 65}, "name"),
    ({"type": "self_hosted", "name": ""}, "name"),
]


@pytest.mark.parametrize(("arguments", "argument"), REFUSED)
async def test_pools_that_are_refused(
    server: ScriptedServer, client: AsyncArker, arguments: dict[str, Any], argument: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.create_pool(**arguments)
    assert caught.value.argument == argument
    assert not server.requests


async def test_a_pool_whose_reply_was_lost_is_not_created_twice(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(dropped(Drop.AFTER_PROCESSING))
    with pytest.raises(NetworkError) as caught:
        await client.create_pool("self_hosted")
    assert caught.value.outcome == "unknown"
    assert len(server.requests) == 1


async def test_one_pool(server: ScriptedServer, client: AsyncArker) -> None:
    deleting = {**full(Pool), "state": "deleting"}
    server.script(
        ok(full(Pool)),
        ok(full(Pool)),
        ok(full(Pool)),
        Reply(status=202, body=ok(deleting).body),
        ok(full(ListPoolWorkersResponse)),
    )
    assert (await client.get_pool("p")).pool_id == full(Pool)["pool_id"]
    await client.update_pool("p", name="", commitments=[])
    assert server.last.json == {"name": None, "commitments": []}
    await client.update_pool("p", name="n", resources=SIZE)
    assert server.last.json == {"name": "n", "resources": SIZE}
    assert (await client.delete_pool("p")).state == "deleting"
    (worker,) = await client.list_pool_workers("p")
    assert worker.state == "running"
    path = f"{COMPUTE}/v1/pools/p"
    assert [(request.method, request.target) for request in server.requests] == [
        ("GET", path),
        ("PATCH", path),
        ("PATCH", path),
        ("DELETE", path),
        ("GET", f"{path}/workers"),
    ]


async def test_a_change_of_nothing_is_refused(server: ScriptedServer, client: AsyncArker) -> None:
    with pytest.raises(InvalidArgumentError, match="at least one"):
        await client.update_pool("p")
    assert not server.requests


async def test_errors_of_pools(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(NO_POOLS, nested("already_exists", "taken", status=409, details={"resource": "pool_name"}))
    with pytest.raises(NotFoundError) as caught:
        await client.list_pools()
    assert caught.value.details == {"resource": "pool"}
    with pytest.raises(AlreadyExistsError):
        await client.create_pool("self_hosted", name="taken")


# --- API keys --------------------------------------------------------------------------------------------------------


async def test_api_keys(server: ScriptedServer, client: AsyncArker) -> None:
    scopes = [{"vm_id": "vm-1"}, {"vm_id": "vm-2"}]
    server.script(
        ok(full(ListApiKeysResponse)),
        Reply(status=201, body=ok(full(CreatedApiKey)).body),
        Reply(status=201, body=ok(full(CreatedApiKey)).body),
        Reply(status=204, body=b""),
    )
    (known,) = await client.list_api_keys()
    assert known.scopes == (ApiKeyScope(vm_id="vm-1"),)
    created = await client.create_api_key(name="ci", scopes=[ApiKeyScope(vm_id="vm-1"), {"vm_id": "vm-2"}])
    assert server.last.json == {"name": "ci", "scopes": scopes}
    assert server.last.key is None
    assert created.key == CREATED_KEY
    assert "SECRET" not in repr(created)
    await client.create_api_key()
    assert server.last.json == {}
    assert await client.revoke_api_key("ci-1") == RevokeApiKeyResponse(revoked=True)
    path = f"{CONTROL}/v1/api-keys"
    assert [(request.method, request.target) for request in server.requests] == [
        ("GET", path),
        ("POST", path),
        ("POST", path),
        ("DELETE", f"{path}/ci-1"),
    ]
    assert {request.headers["Authorization"] for request in server.requests} == {f"Bearer {API_KEY}"}


async def test_a_repeated_revocation_has_succeeded_before(server: ScriptedServer, client: AsyncArker) -> None:
    gone = nested("not_found", "no such key", status=404, details={"resource": "api_key"})
    server.script(dropped(Drop.AFTER_PROCESSING), gone, gone)
    assert (await client.revoke_api_key("ci-1")).revoked is True
    with pytest.raises(NotFoundError):
        await client.revoke_api_key("ci-1")


BAD_KEYS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": "n" * 256}, "name"),
    ({"scopes": {"vm_id": "v"}}, "scopes"),
    ({"scopes": [{}]}, "scopes[0]"),
    ({"scopes": [{"vm": "v"}]}, "scopes[0]"),
    ({"scopes": [{"vm_id": "v", "pool_id": "p"}]}, "scopes[0]"),
    ({"scopes": [{"vm_id": ""}]}, "scopes[0]['vm_id']"),
    ({"scopes": [{"vm_id": "v"}, {"pool_id": "p"}]}, "scopes"),
    ({"scopes": [{"vm_id": f"v{number}"} for number in range(17)]}, "scopes"),
]


@pytest.mark.parametrize(("arguments", "argument"), BAD_KEYS)
async def test_api_keys_that_are_refused(
    server: ScriptedServer, client: AsyncArker, arguments: dict[str, Any], argument: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.create_api_key(**arguments)
    assert caught.value.argument == argument
    assert not server.requests


# --- a server of 0.5 -------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[AsyncArker], Awaitable[object]]] = {
    "list_pools": lambda ar: ar.list_pools(),
    "create_pool": lambda ar: ar.create_pool("self_hosted"),
    "delete_pool": lambda ar: ar.delete_pool("p"),
    "list_api_keys": lambda ar: ar.list_api_keys(),
    "revoke_api_key": lambda ar: ar.revoke_api_key("k"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_server_of_0_5_has_neither(server: ScriptedServer, name: str) -> None:
    server.answer(error("not_found", "no such route", status=404))
    async with make_client(server, generation="auto") as client:
        with pytest.raises(UnsupportedOperationError, match="does not have"):
            await CALLS[name](client)
