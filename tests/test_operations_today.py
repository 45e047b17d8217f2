"""What each operation puts on the wire in generation 1, where that differs, and what it makes of the answer."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest

from arker import (
    AsyncArker,
    AsyncVM,
    BackgroundRunResult,
    CompletedRunResult,
    ConfigurationError,
    ListMountsResponse,
    Mount,
    NetworkPolicyAllow,
    NetworkPolicyBlock,
    NetworkPolicyBlocked,
    NetworkPolicyOpen,
    Sync,
    Vm,
)
from arker._protocol.policies import network_of, policies_of
from tests.support.clients import COMPUTE, CONTROL, make_client
from tests.support.samples import completed, full
from tests.support.secrets import API_KEY
from tests.support.server import ScriptedServer, ok
from tests.support.today import VM_OF_TODAY

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[AsyncArker]:
    async with make_client(server, generation="1", strict_replies=True) as client:
        yield client


# --- VMs -------------------------------------------------------------------------------------------------------------


async def test_fork_with_every_argument(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok(VM_OF_TODAY))
    vm = await client.fork(
        "ubuntu",
        name="new",
        public=False,
        network=False,
        disk=True,
        vcpu_count=2,
        memory_mib=1024,
        disk_mib=4096,
        durable=True,
        description="for builds",
        queueing_timeout=2.5,
        layers={"memory", "disk"},  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # sets have no order
        command=["echo", "a b"],
        platforms=["p-1"],
    )
    assert server.last.json == {
        "source_vm_name": "ubuntu",
        "source_org_id": "ArkerHQ",
        "name": "new",
        "public": False,
        "disk": True,
        "durable": True,
        "description": "for builds",
        "queueing_timeout": 3,
        "layers": ["disk", "memory"],
        "command": "echo 'a b'",
        "platforms": ["p-1"],
        "resources": {"vcpu": 2, "memory_mib": 1024, "disk_mib": 4096},
        "policies": {
            "rules": {
                "network.hosts": None,
                "network.ips": None,
                "network.rest": {"type": "outbound", "priority": 999998, "action": "deny"},
            }
        },
    }
    assert (vm.vcpu_count, vm.memory_mib, vm.disk_mib) == (3, 512, 4096)
    assert vm.resources is not None
    assert vm.resources.vcpu == 3


async def test_fork_of_an_image(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok(VM_OF_TODAY))
    await client.fork(image="python:3.12")
    assert server.last.json == {"image": "python:3.12"}


async def test_forks_of_fleets(server: ScriptedServer, client: AsyncArker) -> None:
    server.answer(lambda request: ok({"deleted": True} if request.method == "DELETE" else VM_OF_TODAY))
    async with client.fork_many("ubuntu", 1, memory_mib=64, description="d", layers=["disk"], command="true"):
        assert server.last.json == {
            "source_vm_name": "ubuntu",
            "source_org_id": "ArkerHQ",
            "resources": {"memory_mib": 64},
            "description": "d",
            "layers": ["disk"],
            "command": "true",
        }


@pytest.mark.parametrize(
    ("change", "body"),
    [
        ({"description": "d"}, {"description": "d"}),
        ({"description": ""}, {"description": None}),
        ({"vcpu_count": 2, "disk_mib": 9}, {"resources": {"vcpu": 2, "disk_mib": 9}}),
        ({"immutable": True}, {"immutable": True}),
    ],
)
async def test_update(server: ScriptedServer, client: AsyncArker, change: dict[str, Any], body: Any) -> None:
    server.script(ok({**VM_OF_TODAY, "description": "now"}))
    vm = client.vm("v")
    assert await vm.update(**change) is vm
    assert vm.description == "now"
    assert (server.last.method, server.last.path, server.last.json) == ("PATCH", f"{COMPUTE}/v1/vms/v", body)


async def test_update_of_the_network(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok(VM_OF_TODAY))
    await client.vm("v").update(network=True)
    assert server.last.json["policies"]["rules"]["network.rest"]["action"] == "allow"


@pytest.mark.parametrize(("said", "state"), [("completed", "failed"), ("cancelled", "cancelled")])
async def test_a_negative_exit_code_says_that_a_run_failed(
    server: ScriptedServer, client: AsyncArker, said: str, state: str
) -> None:
    server.script(ok(completed("", state=said, exit_code=-1, session_id="s")))
    result = await client.vm("v").run("true")
    assert isinstance(result, CompletedRunResult)
    assert (result.state, result.exit_code) == (state, -1)


POLICIES: dict[str, tuple[object, dict[str, Any], dict[str, Any]]] = {
    "open": (NetworkPolicyOpen(), {"rest": "allow"}, {"type": "open"}),
    "True": (True, {"rest": "allow"}, {"type": "open"}),
    "blocked": (NetworkPolicyBlocked(), {"rest": "deny"}, {"type": "blocked"}),
    "False": (False, {"rest": "deny"}, {"type": "blocked"}),
    "allow": (
        NetworkPolicyAllow(("a.example", "*.b.example", "10.0.0.0/8", "::1")),
        {"hosts": (["a.example", "b.example"], "allow"), "ips": (["10.0.0.0/8", "::1"], "allow"), "rest": "deny"},
        {"type": "allow", "allow": ["a.example", "b.example", "10.0.0.0/8", "::1"]},
    ),
    "allow nothing": (NetworkPolicyAllow(()), {"rest": "deny"}, {"type": "blocked"}),
    "block": (
        NetworkPolicyBlock(("a.example",)),
        {"hosts": (["a.example"], "deny"), "rest": "allow"},
        {"type": "block", "block": ["a.example"]},
    ),
    "block nothing": (NetworkPolicyBlock(()), {"rest": "allow"}, {"type": "open"}),
}


@pytest.mark.parametrize("name", POLICIES)
def test_network_policies(name: str) -> None:
    policy, expected, meant = POLICIES[name]
    written = policies_of(policy)
    assert written is not None
    rules = written["rules"]
    priorities: list[int] = []
    for part in ("hosts", "ips", "rest"):
        rule = rules[f"network.{part}"]
        if part not in expected:
            assert rule is None
            continue
        assert rule["type"] == "outbound"
        priorities.append(rule["priority"])
        if part == "rest":
            assert (rule["action"], "match" in rule) == (expected["rest"], False)
        else:
            assert (rule["match"][part], rule["action"]) == expected[part]
    assert priorities == sorted(priorities, reverse=True)
    assert network_of({"rules": {key: rule for key, rule in rules.items() if rule is not None}}) == meant


@pytest.mark.parametrize(
    "policies",
    [
        None,
        [],
        {},
        {"rules": None},
        {"rules": {"mine": {"type": "outbound", "priority": 1, "action": "deny"}}},
        {"rules": {"network.rest": {"type": "outbound", "action": "deny", "match": {"ports": [80]}}}},
        {
            "rules": {
                "network.hosts": {"type": "outbound", "action": "deny", "match": {"hosts": ["a"]}},
                "network.rest": {"type": "outbound", "action": "deny"},
            }
        },
        {
            "rules": {
                "network.ips": {"type": "outbound", "action": "allow", "match": 7},
                "network.rest": {"type": "outbound", "action": "deny"},
            }
        },
    ],
)
def test_policies_that_mean_something_else(policies: object) -> None:
    assert network_of(policies) is None


async def test_the_network_of_a_vm(server: ScriptedServer, client: AsyncArker) -> None:
    key = {"id": "k", "public_key": "ssh-ed25519 A", "fingerprint": "F"}
    rules = {"network.rest": {"type": "outbound", "priority": 1, "action": "deny"}}
    inbound = {"in": {"type": "inbound", "priority": 1, "action": "deny"}}
    server.script(
        ok({**VM_OF_TODAY, "network": {"ssh_public_keys": [key]}, "policies": {"rules": rules}}),
        ok({**VM_OF_TODAY, "policies": {"rules": inbound}}),
        ok({**VM_OF_TODAY, "network": {"type": "open", "ssh_public_keys": [key]}}),
        ok(VM_OF_TODAY),
    )
    vm = await client.get_vm("v")
    assert vm.network == NetworkPolicyBlocked()
    assert vm.policies == {"rules": rules}
    assert vm.ssh_public_keys is not None
    assert [each.id for each in vm.ssh_public_keys] == ["k"]
    again = await client.get_vm("v")
    assert again.network == NetworkPolicyOpen()
    of_both = await client.get_vm("v")
    assert (of_both.network, len(of_both.ssh_public_keys or ())) == (NetworkPolicyOpen(), 1)
    assert (await vm.refresh()).network is None


@pytest.mark.parametrize(
    "filters",
    [
        {"org_id": "ArkerHQ", "public": True},
        {"platform": "p", "created_after": "a", "created_before": "b", "pool_id": "x"},
    ],
)
async def test_filters_of_vms(server: ScriptedServer, client: AsyncArker, filters: dict[str, Any]) -> None:
    server.script(ok({"vms": []}), ok({"vms": []}))
    await client.list_vms(limit=3, **filters)
    assert server.last.query == "&".join(
        ["limit=3", *(f"{name}={str(value).lower() if value is True else value}" for name, value in filters.items())]
    )
    assert [vm async for vm in client.iter_vms(**filters)] == []


async def test_without_a_region_organisation_wide_calls_work(server: ScriptedServer) -> None:
    async with AsyncArker(API_KEY, control_base_url=server.url + CONTROL, ledger=False) as client:
        assert client.base_url is None
        assert repr(client) == "<AsyncArker None>"
        server.script(
            ok({"regions": [{"provider": "aws", "region": "eu-1", "endpoint": "https://h", "platforms": ["p"]}]}),
            ok({"org_id": "acme", "org_name": "Acme"}),
            ok({"vms": [{**VM_OF_TODAY, "provider": "gcp", "region": "eu-1"}]}),
            ok({"rows": []}),
        )
        regions = await client.list_regions()
        assert [(place.provider, place.region, place.endpoint, place.platforms) for place in regions] == [
            ("aws", "eu-1", "https://h", ("p",))
        ]
        assert (await client.whoami()).org_name == "Acme"
        assert [vm.base_url async for vm in client.iter_vms()] == ["https://gcp-eu-1.arker.ai/api"]
        assert len(await client.list_runs()) == 0
        for call in (client.fork("ubuntu"), client.get_vm("v"), client.list_filesystems()):
            with pytest.raises(ConfigurationError, match="a region or a base URL is required"):
                await call
        with pytest.raises(ConfigurationError):
            client.vm("v")
        assert (await client.reap()).deleted == ()
    assert [request.path for request in server.requests] == [
        f"{CONTROL}/v1/regions",
        f"{CONTROL}/v1/whoami",
        f"{CONTROL}/v1/vms",
        f"{CONTROL}/v1/runs",
    ]


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "sent"), [(0.2, 1), (1.0, 1), (2, 2), (2.001, 3)])
async def test_fractions_of_seconds_are_rounded_up(
    server: ScriptedServer, client: AsyncArker, given: float, sent: int
) -> None:
    server.script(ok(completed()))
    await client.vm("v").run("true", timeout=given)
    assert server.last.json == {"command": "true", "timeout": sent}
    assert b"." not in server.last.body


async def test_time_to_background(server: ScriptedServer, client: AsyncArker) -> None:
    vm = client.vm("v")
    server.script(ok(completed()), ok({"run_id": "r", "session_id": "s", "state": "running"}, status=202))
    first = await vm.run("true", time_to_background=0.5, queueing_timeout=4)
    assert isinstance(first, CompletedRunResult)
    assert server.last.json == {"command": "true", "time_to_background": 1, "queueing_timeout": 4}
    second = await vm.run("true", time_to_background=0)
    assert isinstance(second, BackgroundRunResult)
    assert (second.run_id, second.session_id) == ("r", "s")
    assert server.last.json == {"command": "true", "time_to_background": 0}


async def test_a_cancelled_run_has_no_exit_code(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok({**completed(), "exit_code": None, "state": "cancelled", "session_id": "s"}))
    result = await client.vm("v").run("true")
    assert (result.exit_code, result.state, result.session_id) == (None, "cancelled", "s")


# --- mounts ----------------------------------------------------------------------------------------------------------

MOUNT = {"mount_id": "m", "vm_id": "v", "filesystem_id": "f", "path": "/d", "state": "mounted"}
SYNC = {"sync_id": "m", "vm_id": "v", "filesystem_id": "f", "path": "/d", "created_at": "t", "live": True}


@pytest.mark.parametrize(
    ("generation", "route", "row", "page"),
    [("1", "mounts", MOUNT, "mounts"), ("0.5", "syncs", SYNC, "syncs"), ("1", "mounts", {**SYNC, **MOUNT}, "mounts")],
)
async def test_mounts_by_either_name(server: ScriptedServer, generation: str, route: str, row: Any, page: str) -> None:
    base = f"{COMPUTE}/v1/vms/v/{route}"
    async with make_client(server, generation=generation, strict_replies=True) as client:
        vm = client.vm("v")
        server.script(*[ok(row)] * 2, *[ok({page: [row]})] * 4, *[ok({"deleted": True})] * 2)
        made = await vm.create_mount(filesystem_id="f", path="/d")
        assert (made.mount_id, made.filesystem_id, made.path, made.state) == ("m", "f", "/d", "mounted")
        synced = await vm.create_sync(filesystem_id="f", path="/d")
        assert (synced.sync_id, synced.filesystem_id, synced.path, synced.live) == ("m", "f", "/d", True)
        mounts, syncs = await vm.list_mounts(filesystem_id="f", limit=2), await vm.list_syncs()
        assert ([each.mount_id for each in mounts], [each.sync_id for each in syncs]) == (["m"], ["m"])
        assert [each.mount_id async for each in vm.iter_mounts(page_size=3)] == ["m"]
        assert [each.sync_id async for each in vm.iter_syncs()] == ["m"]
        assert (await vm.delete_mount("m")).deleted
        assert (await vm.delete_sync("m")).deleted
    assert [f"{request.method} {request.target}" for request in server.requests] == [
        f"POST {base}",
        f"POST {base}",
        f"GET {base}?limit=2&filesystem_id=f",
        f"GET {base}",
        f"GET {base}?limit=3",
        f"GET {base}",
        f"DELETE {base}/m",
        f"DELETE {base}/m",
    ]
    assert server.requests[0].json == {"filesystem_id": "f", "path": "/d"}


async def test_the_states_of_mounts_and_syncs_mean_the_same(server: ScriptedServer, client: AsyncArker) -> None:
    waiting = {**SYNC, "live": False, "live_error": "busy"}
    failed = {**MOUNT, "state": "failed", "state_detail": "gone"}
    server.script(ok({"syncs": [waiting]}), ok({"mounts": [failed, {**MOUNT, "state": None}]}))
    vm = client.vm("v")
    (mount,) = await vm.list_mounts()
    assert (mount.state, mount.state_detail) == ("attaching", "busy")
    sync, unknown = await vm.list_syncs()
    assert (sync.live, sync.live_error, unknown.live) == (False, "gone", None)


def test_mounts_survive_being_sent_elsewhere() -> None:
    page = ListMountsResponse(mounts=(Mount(mount_id="m"),))
    assert pickle.loads(pickle.dumps(page)) == page
    assert Sync(sync_id="s").live is None


async def test_a_handle_keeps_every_field(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok(full(Vm)))
    vm: AsyncVM = await client.get_vm("v")
    assert vm.data is not None
    for name in ("description", "hostname", "immutable", "platform", "pool_id", "min_vcpus", "min_disk_mib"):
        assert getattr(vm, name) == getattr(vm.data, name) == full(Vm)[name]
    assert vm.compatible_platforms == vm.data.compatible_platforms
    assert (client.vm("v").description, client.vm("v").resources, client.vm("v").ssh_public_keys) == (None, None, None)
