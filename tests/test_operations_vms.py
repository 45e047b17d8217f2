"""VMs: what each operation puts on the wire, and what it makes of the answer (contract, section 5)."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest

from arker import (
    AsyncArker,
    AsyncVM,
    BadReplyError,
    DeleteVmResponse,
    InvalidArgumentError,
    NetworkPolicyAllow,
    NetworkPolicyBlock,
    NetworkPolicyOpen,
    NetworkPolicyUnknown,
    NotFoundError,
    TunnelRequest,
    Vm,
)
from tests.support.clients import COMPUTE, CONTROL
from tests.support.samples import full
from tests.support.secrets import API_KEY
from tests.support.server import Drop, Recorded, Reply, ScriptedServer, dropped, error, ok

pytestmark = pytest.mark.anyio
STRICT_REPLIES = True

NESTED = {
    *("sessions", "tunnels", "network", "resources", "ssh_public_keys", "compatible_platforms", "gpu_platforms"),
}
"""Fields of a VM whose values are objects, or lists of them."""

ODD_IDS = {
    "a/b?c#d": "a%2Fb%3Fc%23d",
    "..%2F": "..%252F",
    "../x": "..%2Fx",
    "...": "...",
    "a b+c&d=e": "a%20b%2Bc%26d%3De",
    "ubücher/日本": "ub%C3%BCcher%2F%E6%97%A5%E6%9C%AC",
    "🙂": "%F0%9F%99%82",
    "%": "%25",
    "a:b@c;d,e": "a%3Ab%40c%3Bd%2Ce",
    "~-._": "~-._",
    " x ": "%20x%20",
}


def check_head(request: Recorded, *, body: bool) -> None:
    assert request.headers.getall("Authorization") == [f"Bearer {API_KEY}"]
    assert request.headers["Accept"] == "application/json"
    assert request.headers.getall("Accept-Encoding") == ["identity"]
    assert request.headers["User-Agent"].startswith("arker-async/")
    assert ("Content-Type" in request.headers) is body
    if body:
        assert request.headers.getall("Content-Type") == ["application/json"]
        assert request.headers["Content-Length"] == str(len(request.body))
    else:
        assert request.body == b""
    assert "Cookie" not in request.headers


# --- fork ------------------------------------------------------------------------------------------------------------


async def test_fork(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok(full(Vm)))
    vm = await client.fork("ubuntu")
    request = server.last
    assert (request.method, request.target) == ("POST", f"{COMPUTE}/v1/fork")
    check_head(request, body=True)
    assert request.headers.getall("Idempotency-Key") == [request.key]
    assert request.json == {"source_vm_name": "ubuntu", "source_org_id": "ArkerHQ"}
    assert isinstance(vm, AsyncVM)
    assert (vm.id, vm.vm_id, vm.base_url) == ("vm-1", "vm-1", server.url + COMPUTE)
    assert vm.data is not None
    for name, value in full(Vm).items():
        if name not in NESTED:
            assert getattr(vm, name) == getattr(vm.data, name) == value
    assert vm.network == NetworkPolicyAllow(("example.com", "10.0.0.0/8"))
    assert vm.sessions is not None
    assert vm.tunnels is not None
    assert (vm.sessions[0].session_id, vm.tunnels[0].port) == ("ses-1", 8080)
    assert repr(vm) == f"<AsyncVM vm-1 'worker' at {server.url}{COMPUTE}>"


async def test_fork_with_every_argument(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok({"id": "old-server"}))
    vm = await client.fork(
        source_vm_id="src",
        source_org_id="acme",
        name="new",
        public=False,
        network=False,
        disk=False,
        vcpu_count=2,
        memory_mib=1024,
        max_memory_mib=2048,
        disk_mib=4096,
        durable=True,
        tunnel={"ports": [8080], "auth_mode": "authenticated"},
        idempotency_key="k-1",
    )
    assert vm.id == "old-server"
    assert server.last.key == "k-1"
    assert server.last.json == {
        "source_vm_id": "src",
        "source_org_id": "acme",
        "name": "new",
        "public": False,
        "network": False,
        "disk": False,
        "vcpu_count": 2,
        "memory_mib": 1024,
        "max_memory_mib": 2048,
        "disk_mib": 4096,
        "durable": True,
        "tunnel": {"ports": [8080], "auth_mode": "authenticated"},
    }


async def test_fork_from_a_handle_takes_the_same_arguments(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok({"vm_id": "child"}))
    await vm.fork(name="new", source_org_id="acme", tunnel=TunnelRequest(ports=[80]), network=True, idempotency_key="k")
    assert server.last.json == {
        "source_vm_id": "vm-1",
        "source_org_id": "acme",
        "name": "new",
        "network": True,
        "tunnel": {"ports": [80]},
    }


@pytest.mark.parametrize(
    ("network", "wire"),
    [
        (True, True),
        (False, False),
        ("open", "open"),
        (NetworkPolicyOpen(), {"type": "open"}),
        ({"type": "blocked"}, {"type": "blocked"}),
        (NetworkPolicyAllow(("h",)), {"type": "allow", "allow": ["h"]}),
        ({"type": "allow", "allow": ["h", "i"]}, {"type": "allow", "allow": ["h", "i"]}),
        (NetworkPolicyBlock(("h",)), {"type": "block", "block": ["h"]}),
        ({"type": "block", "block": []}, {"type": "block", "block": []}),
        (NetworkPolicyUnknown("mesh", {"type": "mesh", "peers": 3}), {"type": "mesh", "peers": 3}),
    ],
)
async def test_network_policies_of_a_fork(
    server: ScriptedServer, client: AsyncArker, network: Any, wire: object
) -> None:
    server.script(ok({"vm_id": "v"}))
    await client.fork("mine", network=network)
    assert server.last.json["network"] == wire


@pytest.mark.parametrize(
    ("source", "told"),
    [("01M8QBND1SD7QBWQAXS6JY2DQ7", True), ("01M8QBND1SD7QBWQAXS6JY2DQ7_use1", True), ("prepared", False)],
)
async def test_an_id_given_as_the_name_of_a_source(
    server: ScriptedServer, client: AsyncArker, source: str, told: bool
) -> None:
    server.script(error("not_found", "there is no such VM", status=404))
    with pytest.raises(NotFoundError, match="there is no such VM") as caught:
        await client.fork(source)
    assert server.last.json["source_vm_name"] == source
    assert ("; a VM's id is given as source_vm_id=, or by a handle" in str(caught.value)) is told


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("python:3.12", "; a container's image is given as image= ("),
        ("docker.io/library/alpine", "; a container's image is given as image= ("),
        ("ubunut", "; there is a public golden 'ubuntu' ("),
        ("Ubuntu-Py-REPL", "; there is a public golden 'ubuntu-py-repl' ("),
        ("prepared", "there is no such VM ("),
    ],
)
async def test_what_may_have_been_meant_by_the_name_of_a_source(
    server: ScriptedServer, client: AsyncArker, source: str, told: str
) -> None:
    server.script(error("not_found", "there is no such VM", status=404))
    with pytest.raises(NotFoundError) as caught:
        await client.fork(source)
    assert f"{told}code not_found" in str(caught.value)


BAD_FORKS: list[tuple[dict[str, Any], str]] = [
    ({}, "source"),
    ({"source": "a", "source_vm_id": "b"}, "source"),
    ({"source_vm_name": "a", "source_vm_id": "b"}, "source"),
    ({"source": ""}, "source"),
    ({"source": " "}, "source"),
    ({"source": 7}, "source"),
    ({"source": b"ubuntu"}, "source"),
    ({"source": "a\0b"}, "source"),
    ({"source": "\ud800"}, "source"),
    ({"source_vm_id": ""}, "source_vm_id"),
    ({"source_vm_id": ".."}, "source_vm_id"),
    ({"source_vm_name": 7}, "source_vm_name"),
    ({"source": "a", "source_org_id": ""}, "source_org_id"),
    ({"source": "a", "name": ""}, "name"),
    ({"source": "a", "name": 7}, "name"),
    ({"source": "a", "public": "yes"}, "public"),
    ({"source": "a", "disk": 1}, "disk"),
    ({"source": "a", "durable": 0}, "durable"),
    ({"source": "a", "vcpu_count": 0}, "vcpu_count"),
    ({"source": "a", "vcpu_count": True}, "vcpu_count"),
    ({"source": "a", "vcpu_count": 1.5}, "vcpu_count"),
    ({"source": "a", "memory_mib": -1}, "memory_mib"),
    ({"source": "a", "memory_mib": 2**64}, "memory_mib"),
    ({"source": "a", "memory_mib": 10**5000}, "memory_mib"),
    ({"source": "a", "max_memory_mib": "1"}, "max_memory_mib"),
    ({"source": "a", "disk_mib": 0}, "disk_mib"),
    ({"source": "a", "network": ""}, "network"),
    ({"source": "a", "network": 7}, "network"),
    ({"source": "a", "network": {}}, "network"),
    ({"source": "a", "network": {"type": []}}, "network"),
    ({"source": "a", "network": {"type": "mesh"}}, "network"),
    ({"source": "a", "network": {"type": "open", "allow": []}}, "network['allow']"),
    ({"source": "a", "network": {"type": "allow"}}, "network['allow']"),
    ({"source": "a", "network": {"type": "allow", "allow": "h"}}, "network['allow']"),
    ({"source": "a", "network": {"type": "block", "block": ["h", ""]}}, "network['block'][1]"),
    ({"source": "a", "network": NetworkPolicyAllow("host")}, "network.allow"),  # type: ignore[arg-type]
    ({"source": "a", "tunnel": 8080}, "tunnel"),
    ({"source": "a", "tunnel": {"port": 8080}}, "tunnel['port']"),
    ({"source": "a", "tunnel": {"ports": 8080}}, "ports"),
    ({"source": "a", "tunnel": {"ports": ["80"]}}, "ports[0]"),
    ({"source": "a", "tunnel": {"ports": [65536]}}, "ports[0]"),
    ({"source": "a", "tunnel": {"ports": [0]}}, "ports[0]"),
    ({"source": "a", "tunnel": {"auth_mode": "secret"}}, "auth_mode"),
    ({"source": "a", "tunnel": {"auth_mode": []}}, "auth_mode"),
    ({"source": "a", "idempotency_key": ""}, "idempotency_key"),
    ({"source": "a", "idempotency_key": "é"}, "idempotency_key"),
    ({"source": "a", "idempotency_key": "k" * 65}, "idempotency_key"),
    ({"source": "a", "idempotency_key": 7}, "idempotency_key"),
    ({"source": "a", "deadline": 0}, "deadline"),
    ({"source": "a", "deadline": -1}, "deadline"),
    ({"source": "a", "deadline": "5"}, "deadline"),
    ({"source": "a", "deadline": float("nan")}, "deadline"),
    ({"source": "a", "deadline": True}, "deadline"),
]


@pytest.mark.parametrize(("arguments", "argument"), BAD_FORKS, ids=range(len(BAD_FORKS)))
async def test_bad_arguments_of_fork(
    server: ScriptedServer, client: AsyncArker, arguments: dict[str, Any], argument: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.fork(**arguments)
    assert caught.value.argument == argument
    if argument in arguments:
        assert caught.value.value is arguments[argument]
    assert isinstance(caught.value, ValueError)
    assert caught.value.expected in str(caught.value)
    assert argument in str(caught.value)
    assert not server.requests


# --- handles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vm_id", ODD_IDS)
async def test_ids_are_encoded_whole(server: ScriptedServer, client: AsyncArker, vm_id: str) -> None:
    encoded = ODD_IDS[vm_id]
    vm = client.vm(vm_id)
    server.script(ok({"vm_id": vm_id}), ok({"deleted": True}), ok({"cancelled": True}))
    await vm.refresh()
    await vm.delete()
    await vm.cancel_run(vm_id)
    assert [request.target for request in server.requests] == [
        f"{COMPUTE}/v1/vms/{encoded}",
        f"{COMPUTE}/v1/vms/{encoded}",
        f"{COMPUTE}/v1/vms/{encoded}/runs/{encoded}",
    ]
    assert unquote(encoded) == vm_id


@pytest.mark.parametrize("vm_id", ["", " ", ".", "..", "a\0", "\ud800", None, 7, b"vm"])
async def test_ids_that_are_none(server: ScriptedServer, client: AsyncArker, vm_id: Any) -> None:
    for use in (client.vm, client.get_vm):
        with pytest.raises(InvalidArgumentError) as caught:
            await use(vm_id)  # type: ignore[misc]
        assert (caught.value.argument, caught.value.value) == ("vm_id", vm_id)
    for method in (client.vm("v").get_run, client.vm("v").cancel_run):
        with pytest.raises(InvalidArgumentError) as caught:
            await method(vm_id)
        assert (caught.value.argument, caught.value.value) == ("run_id", vm_id)
    assert not server.requests


async def test_a_handle_without_data(server: ScriptedServer, client: AsyncArker) -> None:
    vm = client.vm("vm-9")
    assert (vm.id, vm.vm_id, vm.data) == ("vm-9", "vm-9", None)
    for name in full(Vm):
        if name != "vm_id":
            assert getattr(vm, name) is None
    assert repr(vm) == f"<AsyncVM vm-9 at {server.url}{COMPUTE}>"
    assert not server.requests


async def test_get_vm_and_refresh(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok({"vm_id": "vm-1", "state": "idle"}), ok({"vm_id": "vm-1", "state": "running"}))
    vm = await client.get_vm("vm-1")
    assert vm.state == "idle"
    check_head(server.last, body=False)
    assert await vm.refresh() is vm
    assert vm.state == "running"
    assert [(request.method, request.target) for request in server.requests] == [("GET", f"{COMPUTE}/v1/vms/vm-1")] * 2


async def test_delete(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok({"deleted": True}))
    assert await vm.delete() == DeleteVmResponse(deleted=True)
    assert (server.last.method, server.last.target) == ("DELETE", f"{COMPUTE}/v1/vms/vm-1")
    check_head(server.last, body=False)
    assert server.last.key is None


# --- lists -----------------------------------------------------------------------------------------------------------


async def test_list_vms(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok({"vms": [{"vm_id": "a"}, {"vm_id": "b"}], "next_cursor": "n"}), ok({"vms": []}), ok({"vms": None}))
    page = await client.list_vms()
    assert (server.last.method, server.last.target) == ("GET", f"{CONTROL}/v1/vms")
    check_head(server.last, body=False)
    assert ([vm.vm_id for vm in page], len(page), page.next_cursor) == (["a", "b"], 2, "n")
    for _ in range(2):
        page = await client.list_vms()
        assert (list(page), len(page), page.next_cursor) == ([], 0, None)


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({}, ""),
        ({"limit": 1}, "limit=1"),
        ({"cursor": "a+b/c="}, "cursor=a%2Bb%2Fc%3D"),
        ({"state": "idle"}, "state=idle"),
        ({"state": ["idle", "running"]}, "state=idle%2Crunning"),
        ({"state": ("running",)}, "state=running"),
        (
            {
                "cursor": "c",
                "limit": 1000,
                "region": "us-west-2",
                "provider": "aws-burst",
                "state": ["idle"],
                "source_org_id": "ä&b",
                "started_after": "2026-01-02T03:04:05+01:00",
                "started_before": "2026-01-03T00:00:00Z",
            },
            "cursor=c&limit=1000&region=us-west-2&provider=aws-burst&state=idle&source_org_id=%C3%A4%26b"
            "&started_after=2026-01-02T03%3A04%3A05%2B01%3A00&started_before=2026-01-03T00%3A00%3A00Z",
        ),
    ],
)
async def test_query_of_list_vms(
    server: ScriptedServer, client: AsyncArker, arguments: dict[str, Any], query: str
) -> None:
    server.script(ok({"vms": []}))
    await client.list_vms(**arguments)
    assert (server.last.path, server.last.query) == (f"{CONTROL}/v1/vms", query)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"cursor": ""}, "cursor"),
        ({"cursor": 7}, "cursor"),
        ({"region": " "}, "region"),
        ({"state": []}, "state"),
        ({"state": 7}, "state"),
        ({"state": ["idle", 7]}, "state[1]"),
        ({"state": {"idle": 1}}, "state"),
        ({"started_after": 5}, "started_after"),
        ({"deadline": 0}, "deadline"),
    ],
)
async def test_bad_arguments_of_list_vms(
    server: ScriptedServer, client: AsyncArker, arguments: dict[str, Any], argument: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.list_vms(**arguments)
    assert caught.value.argument == argument
    assert not server.requests


@pytest.mark.parametrize("vm_id", ["", " ", ".", ".."])
async def test_a_reply_with_an_id_that_is_none_makes_no_handle(
    server: ScriptedServer, client: AsyncArker, vm_id: str
) -> None:
    server.answer(ok({"vm_id": vm_id}))
    for call in (client.fork("ubuntu"), client.get_vm("v")):
        with pytest.raises(BadReplyError) as caught:
            await call
        assert caught.value.path == "$.vm_id"


async def test_a_repeated_deletion_finds_nothing_and_no_body(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(dropped(Drop.AFTER_PROCESSING), Reply(status=404))
    assert (await vm.delete()).deleted is True
