"""VMs and their policies."""

from __future__ import annotations

from typing import Any, Final

from tests.generations.walks.registry import NOWHERE, walk
from tests.generations.wire import Wire

_OF_BEFORE: Final[tuple[dict[str, Any], ...]] = (
    {"vcpu_count": 2},
    {"network": {"type": "blocked"}},
    {"max_memory_mib": 2048},
    {"tunnel": {"ports": [80]}},
    {"source_org_id": "ArkerHQ"},
)
"""What only generation 0.5 takes, of a fork by id."""


@walk
async def fork(wire: Wire, vm: str) -> None:
    own = vm.rpartition("/")[2]
    body: dict[str, Any] = {
        "source_vm_name": "ubuntu",
        "source_org_name": "ArkerHQ",
        "name": "whole",
        "description": "All that a fork takes",
        "public": True,
        "disk": True,
        "durable": False,
        "platforms": [],
        "layers": ["disk"],
        "queueing_timeout": 5,
        "resources": {"vcpu": 2, "memory_mib": 1024, "disk_mib": 2048, "vgpu": 0},
        "policies": {"rules": {"all": {"type": "outbound", "priority": 1, "action": "deny"}}},
        "command": "echo begun > begun",
    }
    made = await wire.get("POST", "/v1/fork", body, key="k" * 64)
    assert (made["name"], made["description"], made["public"]) == ("whole", "All that a fork takes", True)
    assert (made["resources"]["vcpu"], made["resources"]["memory_mib"]) == (2, 1024)
    assert (await wire.get("POST", "/v1/fork", body, key="k" * 64))["vm_id"] == made["vm_id"]
    await wire.refused("conflict", "POST", "/v1/fork", {**body, "name": "other"}, key="k" * 64)
    await wire.refused("already_exists", "POST", "/v1/fork", {"source_vm_id": own, "name": "whole"})
    for source in (
        {"source_vm_id": own},
        {"source_vm_name": "whole"},
        {"source_vm_name": "ubuntu", "source_org_id": "ArkerHQ"},
        {"source_vm_name": "ubuntu"},
        {"image": "ubuntu"},
        {"source_vm_id": own, "name": None, "layers": None, "description": None, "resources": None, "policies": None},
    ):
        child = await wire.get("POST", "/v1/fork", source)
        await wire.get("DELETE", f"/v1/vms/{child['vm_id']}")
    refused: tuple[Any, ...] = (
        {},
        {"source_vm_id": own, "image": "ubuntu"},
        {"dockerfile": "FROM scratch"},
        *[{"source_vm_id": own, **fields} for fields in (_OF_BEFORE if wire.closed else ())],
        {"source_vm_id": own, "description": "x" * 1025},
        {"source_vm_id": own, "layers": []},
        {"source_vm_id": own, "layers": ["memory"]},
        {"source_vm_id": own, "queueing_timeout": -1},
        {"source_vm_id": own, "resources": {"cpu": 1}},
        {"source_vm_id": own, "policies": {"rules": {"Wrong": None}}},
        [],
        b"{",
    )
    for wrong in refused:
        await wire.refused("bad_request", "POST", "/v1/fork", wrong)
    if wire.closed:
        large = {"source_vm_id": own, "command": "x" * 2**20}
        assert (await wire.refused("payload_too_large", "POST", "/v1/fork", large))["maximum_bytes"] == 2**20
        await wire.refused("bad_request", "POST", "/v1/fork", {"source_vm_id": own}, key="k" * 65)
    await wire.refused("not_found", "POST", "/v1/fork", {"source_vm_id": "vm_that_is_not_there"})
    await wire.refused("not_found", "POST", "/v1/fork", {"source_vm_name": "none", "source_org_name": "ArkerHQ"})
    schedule = {"type": "schedule", "after_created": 60, "action": "delete"}
    for unknown, feature in (
        ({"layers": ["disk", "memory"]}, None),
        ({"policies": {"rules": {"a": schedule}}}, "network_policy"),
    ):
        details = await wire.refused("unsupported_operation", "POST", "/v1/fork", {"source_vm_id": own, **unknown})
        assert details["reason"] == "feature_not_supported"
        assert feature in {None, details.get("feature")}
    await wire.refused("unsupported_operation", "POST", "/v1/fork", {"image": "registry.example/some/thing:1"})


@walk
async def list_vms(wire: Wire, vm: str) -> None:
    own = vm.rpartition("/")[2]
    await wire.fork(name="second")
    page = await wire.get("GET", "/v1/vms?limit=1")
    assert len(page["vms"]) == 1
    rest = await wire.get("GET", f"/v1/vms?limit=1&cursor={page['next_cursor']}")
    assert page["vms"] != rest["vms"]
    whole = await wire.get("GET", "/v1/vms?state=idle,running&created_after=2020-01-01T00:00:00Z")
    assert own in {each["vm_id"] for each in whole["vms"]}
    for query, number in (("public=true", 0), ("public=False", 2), ("region=nowhere", 0), ("provider=gcp", 0)):
        assert len((await wire.get("GET", f"/v1/vms?{query}"))["vms"]) == number, query
    assert (await wire.get("GET", "/v1/vms?created_before=2020-01-01T00:00:00Z"))["vms"] == []
    goldens = await wire.get("GET", "/v1/vms?org_id=ArkerHQ&public=true")
    assert "ubuntu-full" in {each["name"] for each in goldens["vms"]}
    for query in (
        "limit=0",
        "=x",
        "unknown=x",
        "cursor=x",
        "state=asleep",
        "public=perhaps",
        "created_after=yesterday",
    ):
        await wire.refused("bad_request", "GET", f"/v1/vms?{query}")


@walk
async def list_org_runs(wire: Wire, vm: str) -> None:
    await wire.get("POST", f"{vm}/runs", {"command": "echo hi"})
    await wire.get("POST", f"{vm}/runs", {"command": "exit 3"})
    page = await wire.get("GET", f"/v1/runs?vm={vm.rpartition('/')[2]}&endpoint=run&sort=when&dir=asc")
    assert [row["command"] for row in page["rows"]][:2] == ["echo hi", "exit 3"]
    lite = await wire.get("GET", "/v1/runs?lite=true&limit=20000")
    assert lite["lite"] is True
    await wire.get("GET", "/v1/runs?search=echo&status_min=200&status_max=299&offset=1&since=0&until=99999999999")
    for query in ("sort=smell", "dir=up", "limit=0", "since=x"):
        await wire.refused("bad_request", "GET", f"/v1/runs?{query}")
    if wire.closed:
        await wire.get("GET", "/v1/runs?limit=200")
        await wire.refused("bad_request", "GET", "/v1/runs?limit=201")
        await wire.refused("bad_request", "GET", "/v1/runs?lite=true&limit=20001")


@walk
async def get_vm(wire: Wire, vm: str) -> None:
    body = await wire.get("GET", vm)
    assert (body["vm_id"], body["state"], body["description"]) == (vm.rpartition("/")[2], "idle", None)
    assert body["sessions"][0]["session_idx"] == 0
    golden = await wire.get("GET", "/v1/vms/ubuntu")
    assert (golden["name"], golden["public"], golden["immutable"]) == ("ubuntu", True, True)
    for nowhere in (NOWHERE, "/v1/vms/macos-full", "/v1/vms/macos-full/runs"):
        assert (await wire.refused("not_found", "GET", nowhere)) == {"resource": "vm"}


@walk
async def delete_vm(wire: Wire, vm: str) -> None:
    assert await wire.get("DELETE", vm) == {"deleted": True}
    await wire.refused("not_found", "DELETE", vm)
    await wire.refused("not_found", "POST", f"{vm}/runs", {"command": "true"})
    await wire.refused("forbidden", "DELETE", "/v1/vms/ubuntu")


@walk
async def patch_vm(wire: Wire, vm: str) -> None:
    body = await wire.get("PATCH", vm, {"description": "first", "resources": {"vcpu": 3, "memory_mib": 512}})
    assert (body["description"], body["resources"]["vcpu"], body["resources"]["memory_mib"]) == ("first", 3, 512)
    body = await wire.get("PATCH", vm, {"resources": {"disk_mib": 4096}})
    assert (body["description"], body["resources"]["vcpu"], body["resources"]["disk_mib"]) == ("first", 3, 4096)
    body = await wire.get("PATCH", vm, {"description": None})
    assert body["description"] is None
    rule = {"type": "outbound", "priority": 5, "action": "deny"}
    body = await wire.get("PATCH", vm, {"policies": {"rules": {"out": rule}}})
    assert body["policies"]["rules"] == {"out": rule}
    body = await wire.get("PATCH", vm, {"policies": {"rules": {"out": None}}})
    assert not body.get("policies") or not body["policies"].get("rules")
    for wrong in (
        {"name": "other"},
        {"vcpu_count": 1},
        {"description": 5},
        {"resources": {"vcpu": 0}},
        {"resources": {"vcpu": 256}},
        {"immutable": False},
        {"immutable": True, "description": "both"},
    ):
        await wire.refused("bad_request", "PATCH", vm, wrong)
    await wire.refused("not_found", "PATCH", NOWHERE, {"description": "x"})
    await wire.refused("forbidden", "PATCH", "/v1/vms/ubuntu", {"description": "x"})
    body = await wire.get("PATCH", vm, {"immutable": True})
    assert body["immutable"] is True
    details = await wire.refused("invalid_state", "POST", f"{vm}/runs", {"command": "true"})
    assert (details["requirement"], details["resource"]["kind"]) == ("mutable", "vm")
    child = await wire.get("POST", "/v1/fork", {"source_vm_id": vm.rpartition("/")[2]})
    assert not child.get("immutable")


@walk
async def get_vm_policies(wire: Wire, vm: str) -> None:
    assert (await wire.get("GET", f"{vm}/policies")).get("policies", []) == []
    await wire.refused("not_found", "GET", f"{NOWHERE}/policies")


@walk
async def put_vm_policies(wire: Wire, vm: str) -> None:
    deny = {"type": "outbound", "action": "deny"}
    assert (await wire.get("PUT", f"{vm}/policies", {"policies": [deny]}))["policies"] == [deny]
    assert (await wire.get("GET", f"{vm}/policies"))["policies"] == [deny]
    (rule,) = (await wire.get("GET", vm))["policies"]["rules"].values()
    assert (rule["type"], rule["action"]) == ("outbound", "deny")
    assert (await wire.get("PUT", f"{vm}/policies", {"policies": []})).get("policies", []) == []
    await wire.refused("bad_request", "PUT", f"{vm}/policies", {"rules": {}})
    gate = {"type": "outbound", "action": {"gate": {"host": "https://x.example", "allow_on_status": [200]}}}
    details = await wire.refused("unsupported_operation", "PUT", f"{vm}/policies", {"policies": [gate]})
    assert details["feature"] == "network_policy"
    await wire.refused("not_found", "PUT", f"{NOWHERE}/policies", {"policies": []})
