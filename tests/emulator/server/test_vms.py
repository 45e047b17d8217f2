"""Fork, get, list and delete of VMs (contract, sections 2, 4 and 5)."""

from __future__ import annotations

import re
from typing import Any

import anyio
import pytest

from tests.emulator.server.support import OTHER_ORG, Api, output

pytestmark = pytest.mark.anyio

ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
BURST = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}_[A-Za-z0-9]+")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


async def test_a_fork_of_a_golden_is_described_in_full(api: Api) -> None:
    vm = await api.fork("ubuntu", source_org_id="ArkerHQ", name="first", vcpu_count=3, memory_mib=512, public=True)
    assert ULID.fullmatch(vm["vm_id"])
    assert TIMESTAMP.fullmatch(vm["created_at"])
    assert vm["name"] == "first"
    assert vm["public"] is True
    assert vm["provider"] == "aws"
    assert vm["region"] == "us-west-2"
    assert vm["state"] == "idle"
    assert vm["network"] == {"type": "open"}
    assert (vm["vcpu_count"], vm["memory_mib"]) == (3, 512)
    assert "root_source_vm_id" not in vm
    (session,) = vm["sessions"]
    assert (session["session_idx"], session["state"], session["cwd"]) == (0, "idle", "/home/user")
    assert session["vm_id"] == vm["vm_id"]
    assert await api.get(f"/v1/vms/{vm['vm_id']}") == vm
    assert await api.get("/v1/vms/first") == vm


async def test_forks_of_arkuntu_are_burst_references_and_so_are_theirs(api: Api) -> None:
    vm = await api.fork("arkuntu")
    assert BURST.fullmatch(vm["vm_id"])
    assert vm["provider"] == "aws-burst"
    child = await api.fork(source_vm_id=vm["vm_id"])
    assert BURST.fullmatch(child["vm_id"])
    assert child["provider"] == "aws-burst"


async def test_the_root_is_the_deepest_ancestor(api: Api) -> None:
    first = await api.fork("ubuntu", name="root")
    second = await api.fork("root", name="middle")
    third = await api.fork(source_vm_id=second["vm_id"])
    for child in (second, third):
        assert child["root_source_vm_id"] == first["vm_id"]
        assert child["root_source_vm_name"] == "root"
    await api.delete(first["vm_id"])
    fourth = await api.fork(source_vm_id=third["vm_id"])
    assert fourth["root_source_vm_id"] == first["vm_id"]


async def test_a_child_has_its_parents_files_and_session_state(api: Api, vm: str) -> None:
    await api.run(vm, "mkdir -p work && cd work && echo one > file && export COLOUR=blue")
    child = (await api.fork(source_vm_id=vm))["vm_id"]
    await api.run(vm, "echo two > file")
    run = await api.run(child, 'cat file; echo "$COLOUR"')
    assert output(run) == b"one\nblue\n"
    await api.run(child, "echo three > file")
    assert output(await api.run(vm, "cat file")) == b"two\n"


@pytest.mark.parametrize("reference", ["ubuntu", "ubuntu-small", "ubuntu-nodisk", "ubuntu-full", "arkuntu", "ARKUNTU"])
async def test_a_golden_is_accepted_where_an_id_is(api: Api, reference: str) -> None:
    vm = await api.fork(source_vm_id=reference)
    assert "root_source_vm_id" not in vm


async def test_a_golden_describes_itself_and_allows_nothing_else(api: Api) -> None:
    golden = await api.get("/v1/vms/ubuntu")
    assert (golden["vm_id"], golden["owner_org_id"], golden["public"]) == ("ubuntu", "ArkerHQ", True)
    refused = (403, "forbidden")
    assert (await api.call("POST", "/v1/vms/ubuntu/runs", {"command": "true"})).refusal == refused
    assert (await api.call("DELETE", "/v1/vms/ubuntu")).refusal == refused
    write: dict[str, Any] = {"op": "write", "writes": []}
    assert (await api.call("POST", "/v1/vms/ubuntu/sync", write)).refusal == refused


async def test_the_golden_without_network_has_it_blocked(api: Api) -> None:
    vm = await api.fork("ubuntu-nonet-nodisk")
    assert vm["network"] == {"type": "blocked"}
    assert (await api.fork(source_vm_id=vm["vm_id"]))["network"] == {"type": "blocked"}


@pytest.mark.parametrize("name", ["ubuntu-docker", "ubuntu-py-repl", "ubuntu-chromium-js-repl"])
async def test_goldens_that_the_backend_lacks_are_unsupported(api: Api, name: str) -> None:
    reply = await api.call("POST", "/v1/fork", {"source_vm_name": name, "source_org_id": "ArkerHQ"})
    assert reply.refusal == (422, "unsupported_operation")


@pytest.mark.parametrize(
    ("network", "policy"),
    [
        (True, {"type": "open"}),
        (False, {"type": "blocked"}),
        ("blocked", {"type": "blocked"}),
        ({"type": "allow", "allow": ["pypi.org"]}, {"type": "allow", "allow": ["pypi.org"]}),
        ({"type": "block", "block": []}, {"type": "block", "block": []}),
    ],
)
async def test_network_policies_in_all_their_forms(api: Api, network: Any, policy: Any) -> None:
    assert (await api.fork(network=network))["network"] == policy


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "source_vm_id, source_vm_name, image"),
        ({"source_vm_name": "ubuntu", "source_vm_id": "ubuntu"}, "source_vm_id, source_vm_name, image"),
        ({"source_vm_name": 7}, "source_vm_name"),
        ({"source_vm_name": "ubuntu", "name": " "}, "name"),
        ({"source_vm_name": "ubuntu", "name": "a\nb"}, "name"),
        ({"source_vm_name": "ubuntu", "name": ".."}, "name"),
        ({"source_vm_name": "ubuntu", "name": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, "name"),
        ({"source_vm_name": "ubuntu", "name": "01arz3ndektsv4rrffq69g5fav_x"}, "name"),
        ({"source_vm_name": "ubuntu", "public": "true"}, "public"),
        ({"source_vm_name": "ubuntu", "disk": 1}, "disk"),
        ({"source_vm_name": "ubuntu", "vcpu_count": 0}, "vcpu_count"),
        ({"source_vm_name": "ubuntu", "memory_mib": 1.5}, "memory_mib"),
        ({"source_vm_name": "ubuntu", "disk_mib": True}, "disk_mib"),
        ({"source_vm_name": "ubuntu", "network": "nearly"}, "network"),
        ({"source_vm_name": "ubuntu", "network": {"type": "allow"}}, "network.allow"),
        ({"source_vm_name": "ubuntu", "network": {"allow": []}}, "network.type"),
    ],
)
async def test_a_bad_field_is_named(api: Api, fields: dict[str, Any], named: str) -> None:
    reply = await api.call("POST", "/v1/fork", fields)
    assert reply.refusal == (400, "bad_request")
    assert reply.message.startswith(f"{named}:")


async def test_a_name_is_taken_once_in_an_organisation(api: Api, other: Api) -> None:
    vm = await api.fork(name="mine")
    request = {"source_vm_name": "ubuntu", "name": "mine"}
    assert (await api.call("POST", "/v1/fork", request)).refusal == (409, "already_exists")
    await other.fork(name="mine")
    await api.delete(vm["vm_id"])
    await api.fork(name="mine")
    golden = {"source_vm_name": "ubuntu", "name": "ubuntu"}
    assert (await api.call("POST", "/v1/fork", golden)).refusal == (409, "already_exists")


async def test_one_of_two_forks_at_a_time_gets_the_name(api: Api) -> None:
    replies: list[int] = []

    async def fork() -> None:
        reply = await api.call("POST", "/v1/fork", {"source_vm_name": "ubuntu", "name": "one"})
        replies.append(reply.status)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(fork)
    assert sorted(replies) == [200, 409, 409, 409]


async def test_another_organisations_vm_is_forked_only_when_it_is_public(api: Api, other: Api) -> None:
    private = await other.fork(name="private")
    public = await other.fork(name="public", public=True)
    missing = await api.call("POST", "/v1/fork", {"source_vm_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"})
    hidden = await api.call("POST", "/v1/fork", {"source_vm_id": private["vm_id"]})
    assert missing.refusal == hidden.refusal == (404, "not_found")
    assert missing.message.replace("01ARZ3NDEKTSV4RRFFQ69G5FAV", private["vm_id"]) == hidden.message
    by_name = {"source_vm_name": "private", "source_org_id": OTHER_ORG}
    assert (await api.call("POST", "/v1/fork", by_name)).refusal == (404, "not_found")
    assert (await api.call("POST", "/v1/fork", {"source_vm_name": "public"})).refusal == (404, "not_found")

    for child in (
        await api.fork(source_vm_id=public["vm_id"]),
        await api.fork("public", source_org_id=OTHER_ORG),
    ):
        assert child["owner_org_id"] != OTHER_ORG
        assert child["public"] is False
        assert child["root_source_vm_id"] == public["vm_id"]
    # Public is for forking: it opens nothing else.
    assert (await api.call("GET", f"/v1/vms/{public['vm_id']}")).refusal == (404, "not_found")
    assert (await api.call("DELETE", f"/v1/vms/{public['vm_id']}")).refusal == (404, "not_found")


async def test_a_list_tells_nothing_of_what_goes_on_in_another_organisations_vm(api: Api, other: Api) -> None:
    vm = (await other.fork(name="template", public=True))["vm_id"]
    await other.run(vm, "export TOKEN=secret")
    assert (await other.call("POST", f"/v1/vms/{vm}/tunnels", {"ports": [8080]})).status == 200
    shown, own = [(await each.get(f"/v1/vms?source_org_id={OTHER_ORG}"))["vms"] for each in (api, other)]
    assert [(seen["vm_id"], seen["name"], seen["sessions"], seen["tunnels"]) for seen in shown] == [
        (vm, "template", [], [])
    ]
    assert own[0]["sessions"][0]["env"]["TOKEN"] == "secret"
    assert own[0]["tunnels"][0]["port"] == 8080


async def test_a_deleted_vm_is_gone_and_its_runs_end(api: Api, vm: str) -> None:
    replies: list[dict[str, Any]] = []

    async def run(command: str) -> None:
        replies.append(await api.run(vm, command))

    async with anyio.create_task_group() as group:
        group.start_soon(run, "sleep 60")
        group.start_soon(run, "echo never")
        while (await api.get(f"/v1/vms/{vm}"))["state"] != "running":
            await anyio.sleep(0.01)
        with anyio.fail_after(60):
            await api.delete(vm)
    for reply in replies:
        assert (reply["state"], reply["exit_code"]) == ("failed", -1)
        assert "deleted" in reply["fail_reason"]
    assert (await api.call("GET", f"/v1/vms/{vm}")).refusal == (404, "not_found")
    assert (await api.call("DELETE", f"/v1/vms/{vm}")).refusal == (404, "not_found")
    assert (await api.call("POST", f"/v1/vms/{vm}/runs", {"command": "true"})).refusal == (404, "not_found")


async def test_the_list_is_newest_first_and_goes_on_by_cursor(api: Api) -> None:
    made = [(await api.fork())["vm_id"] for _ in range(5)]
    assert [vm["vm_id"] for vm in (await api.get("/v1/vms"))["vms"]] == made[::-1]
    page = await api.get("/v1/vms?limit=2")
    assert [vm["vm_id"] for vm in page["vms"]] == made[:2:-1]
    await api.delete(page["vms"][1]["vm_id"])  # the item that the cursor stands on
    rest = await api.list_all("/v1/vms", "vms", limit="2", cursor=page["next_cursor"])
    assert [vm["vm_id"] for vm in rest] == made[2::-1]
    assert "next_cursor" not in await api.get("/v1/vms?limit=4")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("cursor=AAAA", "cursor"),
        ("cursor=%00", "cursor"),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("state=asleep", "state"),
        ("started_after=yesterday", "started_after"),
        ("started_before=2026-13-01T00:00:00Z", "started_before"),
    ],
)
async def test_a_bad_query_is_refused_by_name(api: Api, query: str, named: str) -> None:
    reply = await api.call("GET", f"/v1/vms?{query}")
    assert reply.refusal == (400, "bad_request")
    assert reply.message.startswith(f"{named}:")


async def test_a_cursor_belongs_to_its_list(api: Api, other: Api, vm: str) -> None:
    await api.fork()
    cursor = (await api.get("/v1/vms?limit=1"))["next_cursor"]
    assert (await other.call("GET", f"/v1/vms?cursor={cursor}")).refusal == (400, "bad_request")
    assert (await api.call("GET", f"/v1/vms/{vm}/runs?cursor={cursor}")).refusal == (400, "bad_request")
    assert len((await api.get(f"/v1/vms?limit=5000&cursor={cursor}"))["vms"]) == 1


async def test_filters_of_the_list(api: Api, other: Api) -> None:
    burst = (await api.fork("arkuntu"))["vm_id"]
    first = await api.fork()
    await anyio.sleep(0.005)
    second = (await api.fork())["vm_id"]
    shared = (await other.fork(public=True))["vm_id"]
    await other.fork()
    run = await api.background(second, "sleep 60")

    async def ids(**query: str) -> list[str]:
        return [vm["vm_id"] for vm in await api.list_all("/v1/vms", "vms", **query)]

    assert await ids(provider="aws-burst") == [burst]
    assert await ids(provider="aws,aws-burst") == [second, first["vm_id"], burst]
    assert await ids(region="eu-central-1") == []
    assert await ids(state="running") == [second]
    assert await ids(state="idle") == [first["vm_id"], burst]
    assert await ids(started_after=first["started_at"]) == [second]
    assert await ids(started_before=first["started_at"].replace("Z", "+00:00")) == [burst]
    assert await ids(source_org_id=OTHER_ORG) == [shared]
    assert await ids(source_org_id=f"{OTHER_ORG},{first['owner_org_id']}", limit="1") == [
        shared,
        second,
        first["vm_id"],
        burst,
    ]
    await api.call("DELETE", f"/v1/vms/{second}/runs/{run}")
