"""VMs: what a fork can ask for, what a change can change, and what is told of them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.emulator.server.support import Api

pytestmark = pytest.mark.anyio

RESOURCES = {"vcpu": 3, "memory_mib": 512, "disk_mib": 700}
NEW = {"resources", "description", "hostname", "immutable", "platform", "last_active_at", "policies"}
OLD = {"started_at", "vcpu_count", "memory_mib", "disk_mib", "tunnels"}


async def test_a_vm_has_the_members_of_its_servers_generation(old: Api, new: Api, both: Api) -> None:
    in_old, in_new, in_both = set(await old.fork()), set(await new.fork()), set(await both.fork())
    assert in_old >= OLD
    assert not NEW & in_old
    assert in_new >= NEW
    assert not OLD & in_new
    assert in_both == in_old | in_new
    assert (await new.fork())["network"] == {}
    assert (await both.fork())["network"] == {"type": "open"}


async def test_sizes_are_resources(today: Api) -> None:
    vm = await today.fork(resources=RESOURCES)
    assert vm["resources"] == RESOURCES
    path = f"/v1/vms/{vm['vm_id']}"
    changed = await today.call("PATCH", path, {"resources": {"memory_mib": 900, "vgpu": 0}})
    assert changed.json["resources"] == {**RESOURCES, "memory_mib": 900}
    child = await today.fork(source_vm_id=vm["vm_id"])
    assert child["resources"] == {**RESOURCES, "memory_mib": 900}
    for resources, code in (
        ({"vcpu": 0}, "bad_request"),
        ({"vcpu": 256}, "bad_request"),
        ({"vgpu": 3}, "bad_request"),
        ({"cores": 1}, "bad_request"),
        ({"memory_mib": 0}, "insufficient_resources"),
        ({"disk_mib": 0}, "insufficient_resources"),
        ({"vgpu": 0.125}, "unsupported_operation"),
    ):
        assert (await today.call("PATCH", path, {"resources": resources})).code == code
    assert (await today.get(path))["resources"] == child["resources"]


async def test_either_form_of_sizes_means_the_same(both: Api) -> None:
    vm = await both.fork(vcpu_count=3, memory_mib=512, disk_mib=700)
    assert vm["resources"] == RESOURCES
    path = f"/v1/vms/{vm['vm_id']}"
    await both.call("PATCH", path, {"resources": {"vcpu": 4}})
    assert (await both.get(path))["vcpu_count"] == 4
    await both.call("POST", f"{path}/resize", {"vcpu_count": 5})
    assert (await both.get(path))["resources"]["vcpu"] == 5
    body = {"source_vm_name": "ubuntu", "vcpu_count": 3, "resources": {"vcpu": 3}}
    assert (await both.call("POST", "/v1/fork", body)).refusal == (400, "bad_request")


async def test_bodies_of_generation_1_are_closed(new: Api) -> None:
    former = ("vcpu_count", "memory_mib", "disk_mib", "max_memory_mib", "network", "tunnel")
    for member in (*former, "no_such_member"):
        reply = await new.call("POST", "/v1/fork", {"source_vm_name": "ubuntu", member: None})
        assert reply.refusal == (400, "bad_request")
        assert reply.details["violations"][0]["field"] == member


async def test_a_member_of_no_generation_is_refused_by_a_server_of_both(both: Api) -> None:
    vm = (await both.fork())["vm_id"]
    for method, path, body in (
        ("POST", "/v1/fork", {"source_vm_name": "ubuntu", "cpus": 1}),
        ("POST", "/v1/fork", {"source_vm_name": "ubuntu", "resources": {"cpus": 1}}),
        ("POST", "/v1/fork", {"source_vm_name": "ubuntu", "network": {"type": "open", "more": 1}}),
        ("POST", "/v1/fork", {"source_vm_name": "ubuntu", "tunnel": {"ports": [80], "more": 1}}),
        ("PATCH", f"/v1/vms/{vm}", {"name": "x"}),
        ("POST", f"/v1/vms/{vm}/resize", {"vcpu_count": 1, "more": 1}),
        ("POST", f"/v1/vms/{vm}/runs", {"command": "true", "cwd": "/"}),
        ("POST", f"/v1/vms/{vm}/runs", {"command": "true", "network": {"inbound": {"ports": {"80": {"more": 1}}}}}),
        ("POST", f"/v1/vms/{vm}/sessions", {"directory": "/"}),
        ("POST", f"/v1/vms/{vm}/tunnels", {"ports": [80], "more": 1}),
        ("POST", f"/v1/vms/{vm}/syncs", {"filesystem_id": "x", "more": 1}),
        ("POST", f"/v1/vms/{vm}/mounts", {"filesystem_id": "x", "more": 1}),
        ("POST", f"/v1/vms/{vm}/sync", {"op": "read", "path": "x", "more": 1}),
        ("POST", "/v1/filesystems", {"name": "x", "more": 1}),
    ):
        reply = await both.call(method, path, body)
        assert reply.refusal == (400, "bad_request"), (method, path, body)
        assert reply.details["violations"], (path, body)


async def test_generation_05_ignores_what_it_does_not_know(old: Api) -> None:
    reply = await old.call("POST", "/v1/fork", {"source_vm_name": "ubuntu", "resources": {"vcpu": 9}, "more": 1})
    assert reply.status == 200
    assert reply.json["vcpu_count"] == 2


async def test_a_description_is_set_changed_and_cleared(today: Api) -> None:
    vm = await today.fork(description="first")
    path = f"/v1/vms/{vm['vm_id']}"
    assert vm["description"] == "first"
    assert (await today.call("PATCH", path, {"description": "second"})).json["description"] == "second"
    assert (await today.call("PATCH", path, {})).json["description"] == "second"
    assert (await today.call("PATCH", path, {"description": None})).json["description"] is None
    assert (await today.call("PATCH", path, {"description": "x" * 1025})).refusal == (400, "bad_request")
    assert (await today.fork(source_vm_id=vm["vm_id"]))["description"] is None


async def test_nothing_changes_in_an_immutable_vm(today: Api) -> None:
    vm = (await today.fork())["vm_id"]
    path = f"/v1/vms/{vm}"
    filesystem = (await today.call("POST", "/v1/filesystems", {"name": "data"})).json["filesystem_id"]
    assert (await today.call("PATCH", path, {"immutable": False})).refusal == (400, "bad_request")
    beside = {"immutable": True, "description": "x"}
    assert (await today.call("PATCH", path, beside)).refusal == (400, "bad_request")
    run = await today.background(vm, "sleep 60")
    assert (await today.call("PATCH", path, {"immutable": True})).refusal == (409, "resource_busy")
    await today.call("DELETE", f"{path}/runs/{run}")
    assert (await today.call("PATCH", path, {"immutable": True})).json["immutable"] is True
    entry = {"path": "x", "size": 0, "presigned": True}
    changes: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/runs", {"command": "true"}),
        ("POST", "/sessions", {}),
        ("POST", "/mounts", {"filesystem_id": filesystem}),
        ("POST", "/sync", {"op": "write", "writes": [entry]}),
        ("PATCH", "", {"description": "x"}),
        ("PUT", "/policies", {"policies": []}),
    ]
    for method, below, body in changes:
        reply = await today.call(method, path + below, body)
        assert reply.refusal == (409, "invalid_state"), below
        assert reply.details == {"resource": {"kind": "vm", "id": vm}, "requirement": "mutable"}
    assert (await today.fork(source_vm_id=vm))["immutable"] is False
    await today.delete(vm)


REFUSED: list[tuple[dict[str, Any], tuple[int, str], Any]] = [
    ({"durable": True}, (422, "unsupported_operation"), {"feature": "durability"}),
    ({"nestedvirt": True}, (422, "unsupported_operation"), {"feature": "nested_virtualization"}),
    ({"layers": ["disk", "memory"]}, (422, "unsupported_operation"), {"reason": "feature_not_supported"}),
    ({"layers": ["memory"]}, (400, "bad_request"), {}),
    ({"layers": []}, (400, "bad_request"), {}),
    ({"platforms": ["macos"]}, (422, "unsupported_operation"), {"reason": "platform_mismatch"}),
    ({"ssh_public_keys": {"a": {"public_key": "k"}}}, (422, "unsupported_operation"), {"feature": "public_ingress"}),
    ({"pool_id": "0"}, (404, "not_found"), {"resource": "pool"}),
    ({"pool_name": "x"}, (404, "not_found"), {"resource": "pool"}),
    ({"pool_id": "0", "pool_name": "x"}, (400, "bad_request"), {}),
    ({"registry_auth": {"username": "a", "password": "b"}}, (422, "unsupported_operation"), {}),
    ({"registry_auth": {"username": "a"}}, (400, "bad_request"), {}),
    ({"registry_auth": {}}, (400, "bad_request"), {}),
    ({"registry_auth": {"username": "a", "password": "b", "more": 1}}, (400, "bad_request"), {}),
    ({"ssh_public_keys": {"A": {"public_key": "k"}}}, (400, "bad_request"), {}),
    ({"ssh_public_keys": {"a": {}}}, (400, "bad_request"), {}),
    ({"ssh_public_keys": {"a": "k"}}, (400, "bad_request"), {}),
    ({"ssh_public_keys": {"a": {"public_key": "k", "name": "n" * 256}}}, (400, "bad_request"), {}),
    ({"ssh_public_keys": ["k"]}, (422, "unsupported_operation"), {"feature": "public_ingress"}),
    ({"ssh_public_keys": [""]}, (400, "bad_request"), {}),
    ({"queueing_timeout": -1}, (400, "bad_request"), {}),
    ({"command": ""}, (400, "bad_request"), {}),
    ({"source_org_name": "nothing"}, (404, "not_found"), {"resource": "source"}),
    ({"source_org_name": "ArkerHQ", "source_org_id": "ArkerHQ"}, (400, "bad_request"), {}),
    ({"image": "ubuntu"}, (400, "bad_request"), {}),
    ({"dockerfile": "FROM ubuntu"}, (400, "bad_request"), {}),
]


async def test_what_would_have_no_effect_is_refused(today: Api) -> None:
    for fields, refusal, details in REFUSED:
        reply = await today.call("POST", "/v1/fork", {"source_vm_name": "ubuntu", **fields})
        assert reply.refusal == refusal, fields
        assert {name: reply.details[name] for name in details} == details
    assert await today.list_all("/v1/vms", "vms") == []


async def test_what_changes_nothing_is_accepted(today: Api) -> None:
    vm = await today.fork(
        layers=["disk"],
        platforms=["linux", "macos"],
        durable=False,
        nestedvirt=False,
        ssh_public_keys={"gone": None},
        policies={"secrets": {"gone": None}},
        queueing_timeout=0,
        source_org_name="ArkerHQ",
    )
    assert vm["platform"].startswith("linux-")
    assert (await today.fork(source_vm_id=vm["vm_id"], platforms=[]))["platform"] == vm["platform"]


async def test_a_few_images_are_the_machines_own(today: Api) -> None:
    for image in ("ubuntu", "ubuntu:24.04", "debian", "docker.io/library/debian:bookworm"):
        reply = await today.call("POST", "/v1/fork", {"image": image})
        assert reply.status == 200, reply
    assert (await today.run(reply.json["vm_id"], "echo hi"))["stdout"] == "hi\n"


async def test_other_images_are_not_pulled(today: Api) -> None:
    for image in ("alpine", "ghcr.io/ubuntu", "me/ubuntu", "UBUNTU"):
        reply = await today.call("POST", "/v1/fork", {"image": image})
        assert reply.refusal == (422, "unsupported_operation")
        assert "image" in reply.message


async def test_a_disk_is_refused_where_the_source_has_none(new: Api, both: Api) -> None:
    reply = await new.call("POST", "/v1/fork", {"source_vm_name": "ubuntu-nodisk", "disk": True})
    assert (reply.refusal, reply.details["feature"]) == ((422, "unsupported_operation"), "diskless")
    assert (await new.call("POST", "/v1/fork", {"source_vm_name": "ubuntu-nodisk"})).status == 200
    assert (await both.call("POST", "/v1/fork", {"source_vm_name": "ubuntu-nodisk", "disk": True})).status == 200


async def test_a_forks_command_is_a_run_of_the_default_session(today: Api) -> None:
    vm = await today.fork(command="echo started > file")
    (run,) = await today.list_all(f"/v1/vms/{vm['vm_id']}/runs", "runs")
    assert run["session_id"] == vm["sessions"][0]["session_id"]
    assert (await today.ended(vm["vm_id"], run["run_id"]))["state"] == "completed"
    assert (await today.run(vm["vm_id"], "cat file"))["stdout"] == "started\n"


async def test_the_key_of_a_deleted_vm_makes_no_other(today: Api, old: Api) -> None:
    body = {"source_vm_name": "ubuntu"}
    for api in (today, old):
        vm = (await api.call("POST", "/v1/fork", body, idempotency_key="k")).json["vm_id"]
        assert (await api.call("POST", "/v1/fork", body, idempotency_key="k")).json["vm_id"] == vm
        await api.delete(vm)
    reply = await today.call("POST", "/v1/fork", body, idempotency_key="k")
    assert (reply.refusal, reply.details) == ((404, "not_found"), {"resource": "vm"})


async def test_the_length_of_keys(new: Api, both: Api) -> None:
    for api, longest in ((new, 64), (both, 255)):
        body = {"source_vm_name": "ubuntu"}
        assert (await api.call("POST", "/v1/fork", body, idempotency_key="k" * longest)).status == 200
        reply = await api.call("POST", "/v1/fork", body, idempotency_key="k" * (longest + 1))
        assert reply.refusal == (400, "bad_request")


async def test_the_last_use_is_told(today: Api) -> None:
    vm = await today.fork()
    await anyio.sleep(0.02)
    await today.run(vm["vm_id"], "true")
    assert (await today.get(f"/v1/vms/{vm['vm_id']}"))["last_active_at"] > vm["last_active_at"]


async def test_the_filters_of_the_list(today: Api) -> None:
    first = await today.fork(public=True)
    await anyio.sleep(0.02)
    second = await today.fork()

    async def found(query: str) -> list[str]:
        return [vm["vm_id"] for vm in (await today.get(f"/v1/vms?{query}"))["vms"]]

    everything = [second["vm_id"], first["vm_id"]]
    assert await found("public=true") == await found("public=True") == [first["vm_id"]]
    assert await found("public=False") == [second["vm_id"]]
    assert await found("org_id=org_local") == everything
    assert await found("org_id=org_other") == []
    assert await found("platform=linux") == everything
    assert await found("platform=macos") == await found("pool_id=0") == []
    assert await found(f"created_after={first['created_at']}") == [second["vm_id"]]
    assert await found(f"created_before={second['created_at']}") == [first["vm_id"]]
    assert (await today.call("GET", "/v1/vms?public=maybe")).refusal == (400, "bad_request")
    assert all("policies" not in vm for vm in (await today.get("/v1/vms"))["vms"])


async def test_the_catalogue_of_templates(today: Api, old: Api) -> None:
    path = "/v1/vms?org_id=ArkerHQ&public=true"
    names: list[str] = []
    query = ""
    while True:
        page = await today.get(f"{path}&limit=3{query}")
        names += [vm["name"] for vm in page["vms"]]
        assert all(vm["immutable"] and vm["owner_org_id"] == "ArkerHQ" for vm in page["vms"])
        if page.get("next_cursor") is None:
            break
        query = f"&cursor={page['next_cursor']}"
    assert {"ubuntu", "ubuntu-base", "ubuntu-coding", "ubuntu-small", "ubuntu-full"} <= set(names)
    assert len(names) == len(set(names))
    for name in ("ubuntu-base", "ubuntu-coding"):
        assert (await today.fork(name))["state"] == "idle"
    assert (await today.call("POST", "/v1/fork", {"source_vm_name": "macos-full"})).code == "unsupported_operation"
    assert (await old.get("/v1/vms?source_org_id=ArkerHQ"))["vms"] == []
