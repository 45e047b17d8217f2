"""What one generation has and the other lacks: what is sent, what is refused before, and how a refusal is explained."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from arker import (
    AsyncArker,
    AsyncVM,
    BadRequestError,
    InvalidArgumentError,
    NotFoundError,
    UnsupportedOperationError,
    Vm,
)
from tests.support.clients import COMPUTE, make_client
from tests.support.samples import completed, full
from tests.support.server import Recorded, Reply, ScriptedServer, error, ok
from tests.support.today import (
    HEALTH,
    HEALTHY,
    NO_OPERATION,
    NO_ROUTE,
    OLD_VM,
    PATCH,
    POST,
    VM_OF_TODAY,
    auto,
    nested,
    sent,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("generation", "expected"), [("1", [PATCH]), ("0.5", [POST])])
async def test_a_generation_that_is_set_is_not_asked_for(
    server: ScriptedServer, generation: str, expected: list[str]
) -> None:
    async with make_client(server, generation=generation) as client:
        server.answer(ok({**VM_OF_TODAY, "resized": True}))
        await client.vm("v").resize(vcpu_count=3)
    assert sent(server) == expected


@pytest.mark.parametrize(
    ("generation", "refusal"),
    [("1", NO_ROUTE), ("1", error("bad_request", status=400)), ("0.5", NO_OPERATION)],
)
async def test_a_wrong_setting_is_explained(server: ScriptedServer, generation: str, refusal: Reply) -> None:
    async with make_client(server, generation=generation) as client:
        server.script(refusal)
        server.answer(NO_ROUTE)  # its health
        with pytest.raises(UnsupportedOperationError, match="generation='auto'") as caught:
            await client.vm("v").resize(vcpu_count=3)
    assert caught.value.status == (404 if refusal is not None and b"bad_request" not in refusal.body else 400)
    assert (caught.value.operation, caught.value.vm_id) == ("vm.resize", "v")


@pytest.mark.parametrize("gone", [True, False])
async def test_a_fork_of_which_a_part_was_ignored_is_undone(server: ScriptedServer, gone: bool) -> None:
    """An open network in place of a blocked one must not stay."""
    async with make_client(server, generation="1") as client:
        server.script(ok(OLD_VM), NO_ROUTE, ok({"deleted": gone}))
        with pytest.raises(UnsupportedOperationError, match="generation='auto'") as caught:
            await client.fork("ubuntu", network=False)
    assert (caught.value.operation, caught.value.vm_id) == ("fork", "v")
    assert caught.value.outcome == ("not_started" if gone else "applied")
    assert sent(server) == [f"POST {COMPUTE}/v1/fork", HEALTH, f"DELETE {COMPUTE}/v1/vms/v"]


async def test_the_same_where_the_generation_is_unknown(server: ScriptedServer) -> None:
    async with auto(server) as client:
        server.script(Reply(status=502), ok(OLD_VM), ok({"deleted": True}), ok(OLD_VM))
        with pytest.raises(UnsupportedOperationError) as caught:
            await client.fork("ubuntu", network=False)
        assert caught.value.outcome == "not_started"
        await client.fork("ubuntu", network=False)
    assert [request.json.get("network") for request in server.requests if request.method == "POST"] == [None, False]


async def test_a_filter_that_was_ignored_is_not_trusted(server: ScriptedServer) -> None:
    async with make_client(server, generation="1") as client:
        server.script(ok({"vms": [OLD_VM]}), NO_ROUTE)
        with pytest.raises(UnsupportedOperationError, match="public="):
            await client.list_vms(public=True)
        server.script(ok({"vms": [VM_OF_TODAY]}))
        assert len(await client.list_vms(public=True)) == 1


async def test_a_short_reply_of_a_server_of_today_is_no_proof(server: ScriptedServer) -> None:
    async with make_client(server, generation="1") as client:
        server.script(ok({"vm_id": "v"}), HEALTHY)
        assert (await client.fork("ubuntu", network=False)).id == "v"


async def test_a_missing_tunnel_is_no_missing_operation(server: ScriptedServer) -> None:
    """A server of both has it, although generation 1 has no word for it."""
    unmatched = {"kind": "unmatched", "method": "GET"}
    async with auto(server) as client:
        server.script(nested("not_found", "no tunnel", status=404, details={"resource": "resource"}, request=unmatched))
        with pytest.raises(NotFoundError, match="no tunnel"):
            await client.vm("v").get_tunnel("t")


async def test_a_right_setting_changes_no_error(server: ScriptedServer) -> None:
    for generation, health in (("1", [HEALTHY]), ("0.5", [])):
        async with make_client(server, generation=generation) as client:
            server.script(error("not_found", "no such VM", status=404), *health)
            with pytest.raises(NotFoundError, match="no such VM"):
                await client.vm("v").resize(vcpu_count=3)


Work = Callable[[AsyncArker, AsyncVM], Awaitable[object]]

ONLY_0_5: dict[str, tuple[Work, str]] = {
    "max_memory_mib": (lambda ar, vm: ar.fork("ubuntu", max_memory_mib=1, vcpu_count=2), "resize"),
    "tunnel": (lambda ar, vm: ar.fork("ubuntu", tunnel={"ports": [80]}), "hostname"),
    "source_org_id": (lambda ar, vm: vm.fork(source_org_id="acme"), "leave it out"),
    "network": (lambda ar, vm: ar.fork("ubuntu", network="special"), "host names"),
    "network with a port": (lambda ar, vm: ar.fork("u", network={"type": "allow", "allow": ["h:1"]}), "without ports"),
    "run vcpu_count": (lambda ar, vm: vm.run("true", vcpu_count=2), "resize"),
    "run network": (lambda ar, vm: vm.run("true", network={"inbound": {"ports": {"80": {}}}}), "hostname"),
    "run acquire": (lambda ar, vm: vm.run("true", acquire="cpu"), "suspends"),
    "start release": (lambda ar, vm: vm.start("true", release=["cpu"]), "suspends"),
    "create_tunnel": (lambda ar, vm: vm.create_tunnel(ports=[80]), "hostname"),
    "open tunnel": (lambda ar, vm: vm.tunnel(80).open(), "hostname"),
    "get_tunnel": (lambda ar, vm: vm.get_tunnel("t"), "hostname"),
    "list_tunnels": (lambda ar, vm: vm.list_tunnels(), "hostname"),
    "delete_tunnel": (lambda ar, vm: vm.delete_tunnel("t"), "hostname"),
    "list_vms": (lambda ar, vm: ar.list_vms(started_after="x"), "created_after"),
    "list_runs": (lambda ar, vm: ar.list_runs(source="x"), "filter the rows"),
}

ONLY_1: dict[str, tuple[Work, str]] = {
    "image": (lambda ar, vm: ar.fork(image="python:3.12"), "public goldens"),
    "description": (lambda ar, vm: ar.fork("ubuntu", description="d"), "name="),
    "queueing_timeout": (lambda ar, vm: vm.fork(queueing_timeout=1), "repeat the fork"),
    "layers": (lambda ar, vm: vm.fork(layers=["disk"]), "copies the files"),
    "command": (lambda ar, vm: vm.fork(command="true"), "vm.start"),
    "platforms": (lambda ar, vm: vm.fork(platforms=[]), "where the VM runs"),
    "run queueing_timeout": (lambda ar, vm: vm.run("true", queueing_timeout=1), "repeat the run"),
    "run time_to_background": (lambda ar, vm: vm.run("true", time_to_background=1), "vm.start"),
    "update": (lambda ar, vm: vm.update(description="d"), "resize"),
    "list_vms": (lambda ar, vm: ar.list_vms(created_after="x"), "started_after"),
    "pending runs": (lambda ar, vm: vm.list_runs(state=["running", "pending"]), "'running'"),
    "pending sessions": (lambda ar, vm: vm.list_sessions(state="pending"), "'running'"),
    "list_regions": (lambda ar, vm: ar.list_regions(), "region"),
    "whoami": (lambda ar, vm: ar.whoami(), "owner_org_id"),
    "source_org_name": (lambda ar, vm: ar.fork("x", source_org_name="acme"), "source_org_id="),
    "registry_auth": (
        lambda ar, vm: ar.fork(image="h/i", registry_auth={"username": "u", "password": "p"}),
        "public goldens",
    ),
    "nestedvirt": (lambda ar, vm: ar.fork(image="i", nestedvirt=True), "public goldens"),
    "policies": (lambda ar, vm: vm.fork(policies={"rules": {"a": None}}), "network="),
    "ssh_public_keys": (lambda ar, vm: vm.fork(ssh_public_keys={"a": {"public_key": "k"}}), "tunnel"),
    "vgpu": (lambda ar, vm: vm.fork(vgpu=0.5), "GPUs"),
    "pool_id": (lambda ar, vm: vm.fork(pool_id="p"), "pools"),
    "pool_name": (lambda ar, vm: ar.fork("ubuntu", pool_name="p"), "pools"),
    "list_pools": (lambda ar, vm: ar.list_pools(), "without a pool"),
    "create_pool": (lambda ar, vm: ar.create_pool("self_hosted"), "without a pool"),
    "get_pool": (lambda ar, vm: ar.get_pool("p"), "without a pool"),
    "update_pool": (lambda ar, vm: ar.update_pool("p", name=""), "without a pool"),
    "delete_pool": (lambda ar, vm: ar.delete_pool("p"), "without a pool"),
    "list_pool_workers": (lambda ar, vm: ar.list_pool_workers("p"), "without a pool"),
    "list_api_keys": (lambda ar, vm: ar.list_api_keys(), "own pages"),
    "create_api_key": (lambda ar, vm: ar.create_api_key(), "own pages"),
    "revoke_api_key": (lambda ar, vm: ar.revoke_api_key("k"), "own pages"),
}


async def refused(work: Work, client: AsyncArker) -> UnsupportedOperationError:
    with pytest.raises(UnsupportedOperationError) as caught:
        await work(client, client.vm("v"))
    assert caught.value.code == "unsupported_operation"
    assert caught.value.outcome == "not_started"
    assert caught.value.operation is not None
    return caught.value


@pytest.mark.parametrize("name", ONLY_0_5)
async def test_what_generation_1_lacks_is_said_before_anything_is_sent(server: ScriptedServer, name: str) -> None:
    work, instead = ONLY_0_5[name]
    async with make_client(server, generation="1") as client:
        said = await refused(work, client)
    assert said.message.startswith("generation 1 of the API does not have ")
    assert instead in said.message
    assert said.status == 0
    assert not server.requests


@pytest.mark.parametrize("name", ONLY_1)
async def test_what_generation_0_5_lacks_is_said_before_anything_is_sent(server: ScriptedServer, name: str) -> None:
    work, instead = ONLY_1[name]
    async with make_client(server, generation="0.5") as client:
        said = await refused(work, client)
    assert said.message.startswith("generation 0.5 of the API does not have ")
    assert instead in said.message
    assert said.status == 0
    assert not server.requests


@pytest.mark.parametrize("name", ONLY_0_5)
async def test_a_refusal_of_generation_1_is_explained(server: ScriptedServer, name: str) -> None:
    work, instead = ONLY_0_5[name]

    def answer(request: Recorded) -> Reply:
        if "tunnel" in request.path:
            return NO_OPERATION
        members = list(request.json) if request.body else [part.partition("=")[0] for part in request.query.split("&")]
        violations = [{"field": member, "message": "unknown member"} for member in members]
        return nested("bad_request", "the body has unknown members", status=400, details={"violations": violations})

    server.answer(answer)
    async with make_client(server, generation="auto") as client:
        said = await refused(work, client)
    assert instead in said.message
    assert said.status in (400, 404)
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ONLY_1)
async def test_a_server_of_0_5_is_not_sent_what_it_would_ignore(server: ScriptedServer, name: str) -> None:
    work, instead = ONLY_1[name]
    server.answer(NO_ROUTE)
    async with make_client(server, generation="auto") as client:
        said = await refused(work, client)
    assert instead in said.message
    # A route that it does not have ignores nothing.
    routes = ("/v1/pools", "/v1/api-keys")
    assert all(request.method == "GET" or any(route in request.path for route in routes) for request in server.requests)


async def test_a_bad_value_is_not_mistaken_for_an_unknown_argument(server: ScriptedServer) -> None:
    async with auto(server) as client:
        server.script(nested("bad_request", "max_memory_mib: expected at least 64", status=400))
        with pytest.raises(BadRequestError, match="at least 64"):
            await client.fork("ubuntu", max_memory_mib=1)


@pytest.mark.parametrize("generation", ["auto", "1", "0.5"])
async def test_what_no_generation_has_together_is_sent_to_none(server: ScriptedServer, generation: str) -> None:
    async with make_client(server, generation=generation) as client:
        vm = client.vm("v")
        for call in (
            vm.fork(tunnel={"ports": [80]}, description="d"),
            vm.fork(network="special", description="d"),
            vm.run("true", acquire="cpu", time_to_background=1),
            client.list_vms(started_after="x", created_after="x"),
        ):
            with pytest.raises(UnsupportedOperationError):
                await call
    assert not server.requests


async def test_what_only_0_5_has_is_sent_as_it_is(server: ScriptedServer) -> None:
    """A server of both takes it."""
    async with auto(server) as client:
        server.script(ok(full(Vm)), ok(completed()))
        vm = await client.fork("ubuntu", max_memory_mib=4096, vcpu_count=2, network=False)
        await vm.run("true", vcpu_count=2, timeout=0.5)
    fork, run = server.requests
    assert fork.json == {
        "source_vm_name": "ubuntu",
        "source_org_id": "ArkerHQ",
        "max_memory_mib": 4096,
        "vcpu_count": 2,
        "network": False,
    }
    assert run.json == {"command": "true", "vcpu_count": 2, "timeout": 0.5}


BAD_ARGUMENTS: list[tuple[str, Callable[[Any], Awaitable[object]]]] = [
    ("layers", lambda vm: vm.fork(layers=["memory"])),
    ("layers", lambda vm: vm.fork(layers="disk")),
    ("layers", lambda vm: vm.fork(layers=["disk", "gpu"])),
    ("platforms", lambda vm: vm.fork(platforms="x")),
    ("platforms[0]", lambda vm: vm.fork(platforms=[""])),
    ("queueing_timeout", lambda vm: vm.fork(queueing_timeout=-1)),
    ("queueing_timeout", lambda vm: vm.run("true", queueing_timeout="1")),
    ("description", lambda vm: vm.fork(description="x" * 1025)),
    ("description", lambda vm: vm.update(description=7)),
    ("description", lambda vm: vm.update()),
    ("immutable", lambda vm: vm.update(immutable=False)),
    ("immutable", lambda vm: vm.update(immutable=True, description="d")),
    ("network", lambda vm: vm.update(network="special")),
    ("network", lambda vm: vm.update(network={"type": "allow", "allow": ["h:80"]})),
    ("command", lambda vm: vm.fork(command="")),
    ("command", lambda vm: vm.fork(command=[])),
    ("time_to_background", lambda vm: vm.run("true", time_to_background=301)),
    ("time_to_background", lambda vm: vm.run("true", time_to_background=-1)),
    ("time_to_background", lambda vm: vm.run("true", time_to_background=1, background=True)),
    ("time_to_background", lambda vm: vm.run("", time_to_background=1, signal="INT")),
    ("check", lambda vm: vm.run("true", time_to_background=1, check=True)),
    ("idempotency_key", lambda vm: vm.fork(idempotency_key="k" * 65)),
    ("idempotency_key", lambda vm: vm.run("true", idempotency_key="k" * 65)),
]


@pytest.mark.parametrize(("argument", "work"), BAD_ARGUMENTS)
async def test_arguments_are_checked_first(
    server: ScriptedServer, argument: str, work: Callable[[AsyncVM], Awaitable[object]]
) -> None:
    async with make_client(server, generation="1") as client:
        with pytest.raises(InvalidArgumentError) as caught:
            await work(client.vm("v"))
    assert caught.value.argument == argument
    assert not server.requests


async def test_a_source_is_named_in_one_way_only(server: ScriptedServer) -> None:
    async with make_client(server, generation="1") as client:
        with pytest.raises(InvalidArgumentError, match="exactly one of"):
            await client.fork("ubuntu", image="python:3.12")
