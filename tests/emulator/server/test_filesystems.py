"""Filesystems and syncs (contract, sections 4 and 5)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from tests.emulator.server.support import OTHER_ORG, Api, Reply, chunk, output

pytestmark = pytest.mark.anyio

ROOT = "/v1/filesystems"


@pytest.fixture
async def api(api: Api) -> AsyncIterator[Api]:
    """Return the server's own organisation. Its filesystems are deleted afterwards."""
    yield api
    for vm in await api.list_all("/v1/vms", "vms", limit="1000"):
        await api.delete(vm["vm_id"])
    for filesystem in await api.list_all(ROOT, "filesystems"):
        reply = await api.call("DELETE", f"{ROOT}/{filesystem['filesystem_id']}")
        assert reply.json == {"deleted": True}


async def make(api: Api, name: str) -> str:
    reply = await api.call("POST", ROOT, {"name": name})
    assert reply.status == 200, reply
    return str(reply.json["filesystem_id"])


async def bind(api: Api, vm: str, filesystem: str, path: str | None = None) -> dict[str, Any]:
    reply = await api.call("POST", f"/v1/vms/{vm}/syncs", {"filesystem_id": filesystem, "path": path})
    assert reply.status == 200, reply
    return dict(reply.json)


# --- filesystems ---


async def test_a_filesystem_is_described_in_full(api: Api) -> None:
    reply = await api.call("POST", ROOT, {"name": "data"})
    filesystem = reply.json
    assert re.fullmatch(r"[0-9A-Z]{26}", filesystem["filesystem_id"])
    assert (filesystem["name"], filesystem["size_bytes"]) == ("data", 0)
    assert (filesystem["region"], filesystem["provider"]) == ("us-west-2", "aws")
    assert filesystem["owner_org_id"] == "org_local"
    path = f"{ROOT}/{filesystem['filesystem_id']}"
    assert await api.get(path) == filesystem
    assert (await api.call("DELETE", path)).json == {"deleted": True}
    assert (await api.call("GET", path)).refusal == (404, "not_found")
    assert (await api.call("DELETE", path)).refusal == (404, "not_found")


async def test_a_name_is_taken_once_in_an_organisation(api: Api, other: Api) -> None:
    first = await make(api, "data")
    assert (await api.call("POST", ROOT, {"name": "data"})).refusal == (409, "already_exists")
    foreign = await make(other, "data")
    assert (await other.get(f"{ROOT}/{foreign}"))["owner_org_id"] == OTHER_ORG
    assert (await other.call("GET", f"{ROOT}/{first}")).refusal == (404, "not_found")
    assert (await other.call("DELETE", f"{ROOT}/{first}")).refusal == (404, "not_found")
    await other.call("DELETE", f"{ROOT}/{foreign}")
    await api.call("DELETE", f"{ROOT}/{first}")
    assert await make(api, "data") != first


async def test_only_one_of_those_that_ask_at_the_same_time_gets_the_name(api: Api) -> None:
    statuses: list[int] = []

    async def attempt() -> None:
        statuses.append((await api.call("POST", ROOT, {"name": "data"})).status)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(attempt)
    assert sorted(statuses) == [200, 409, 409, 409, 409]


@pytest.mark.parametrize("name", [None, "", " ", 7, "a/b", "..", ".", "a\nb", " a", "ü" * 128])
async def test_names_that_are_refused(api: Api, name: Any) -> None:
    reply = await api.call("POST", ROOT, {"name": name})
    assert reply.refusal == (400, "bad_request")
    assert reply.message.startswith("name:")


async def test_the_list_is_newest_first_in_pages(api: Api) -> None:
    for name in ("data-1", "logs", "data-2", "data-3"):
        await make(api, name)
    listed = await api.list_all(ROOT, "filesystems", limit="1")
    assert [filesystem["name"] for filesystem in listed] == ["data-3", "data-2", "logs", "data-1"]
    listed = await api.list_all(ROOT, "filesystems", limit="2", name_prefix="data-")
    assert [filesystem["name"] for filesystem in listed] == ["data-3", "data-2", "data-1"]
    assert (await api.call("GET", f"{ROOT}?cursor=x")).refusal == (400, "bad_request")


# --- syncs ---


async def test_two_vms_share_a_filesystem_that_outlives_them(api: Api, vm: str) -> None:
    filesystem = await make(api, "shared")
    second = (await api.fork())["vm_id"]
    sync = await bind(api, vm, filesystem)
    assert (sync["path"], sync["live"], sync["vm_id"]) == ("/mnt/shared", True, vm)
    assert (sync["filesystem_id"], sync["filesystem_name"]) == (filesystem, "shared")
    assert "live_error" not in sync
    assert "idempotent" not in sync
    await bind(api, second, filesystem, "/home/user/place")
    await api.run(vm, "echo one > /mnt/shared/one")
    assert output(await api.run(second, "cat place/one; echo two > place/two")) == b"one\n"
    assert output(await api.read(vm, "/mnt/shared/two"), "content") == b"two\n"
    await api.write(vm, chunk("/mnt/shared/three", b"three"))
    assert (await api.get(f"{ROOT}/{filesystem}"))["size_bytes"] == 13
    await api.delete(vm)
    await api.delete(second)
    third = (await api.fork())["vm_id"]
    await bind(api, third, filesystem, "/srv/data")
    assert output(await api.run(third, "cat /srv/data/*")) == b"one\nthreetwo\n"


async def test_a_path_is_taken_once(api: Api, vm: str) -> None:
    first, second = await make(api, "first"), await make(api, "second")
    sync = await bind(api, vm, first, "/data")
    again = await bind(api, vm, first, "/data")
    assert again == {**sync, "idempotent": True}
    for path in ("/data", "/data/inner"):
        body = {"filesystem_id": second, "path": path}
        assert (await api.call("POST", f"/v1/vms/{vm}/syncs", body)).refusal == (409, "conflict")
    await bind(api, vm, second, "/database")
    await bind(api, vm, first, "/elsewhere")
    await api.run(vm, "echo x > /data/file; cp /data/file /database/copy")
    assert output(await api.run(vm, "cat /elsewhere/file; ls /database")) == b"x\ncopy\n"


async def test_the_list_of_syncs_and_their_end(api: Api, vm: str) -> None:
    first, second = await make(api, "first"), await make(api, "second")
    made = [await bind(api, vm, first), await bind(api, vm, second), await bind(api, vm, first, "/third")]
    path = f"/v1/vms/{vm}/syncs"
    assert await api.list_all(path, "syncs", limit="2") == made[::-1]
    assert await api.list_all(path, "syncs", filesystem_id=second) == [made[1]]
    await api.run(vm, "touch /third/file")
    assert (await api.call("DELETE", f"{path}/{made[2]['sync_id']}")).json == {"deleted": True}
    assert (await api.call("DELETE", f"{path}/{made[2]['sync_id']}")).refusal == (404, "not_found")
    assert output(await api.run(vm, "ls /third /mnt/first")) == b"/mnt/first:\nfile\n\n/third:\n"
    for filesystem in (first, second):
        assert (await api.call("DELETE", f"{ROOT}/{filesystem}")).refusal == (409, "conflict")
    for sync in made[:2]:
        await api.call("DELETE", f"{path}/{sync['sync_id']}")
    for filesystem in (first, second):
        assert (await api.call("DELETE", f"{ROOT}/{filesystem}")).json == {"deleted": True}


async def test_paths_that_are_refused(api: Api, vm: str) -> None:
    filesystem = await make(api, "data")

    async def bound_to(path: Any) -> Reply:
        return await api.call("POST", f"/v1/vms/{vm}/syncs", {"filesystem_id": filesystem, "path": path})

    paths: list[Any] = [
        *("/", "/home", "/home/user", "/tmp", "/var", "/mnt", "/usr", "/usr/x", "/etc", "/etc/x", "/proc/x", "/dev/x"),
        *("/sys", "/bin", "/lib/x", "/root", "/run", "mnt/x", "/mnt/", "/mnt//x", "/mnt/../x", "/mnt/.", "/mnt/a\nb"),
        *("", 7, "/" + "x" * 256),
    ]
    for path in paths:
        reply = await bound_to(path)
        assert reply.status == 400, path
        assert reply.code == "bad_request", path
        assert await api.list_all(f"/v1/vms/{vm}/syncs", "syncs") == [], path
        assert output(await api.run(vm, "pwd")) == b"/home/user\n", path
    reply = await bound_to("/opt/python/bin")  # only where the VM's interpreter is there
    assert reply.status == 200 or reply.refusal == (400, "bad_request")


async def test_what_there_is_not(api: Api, other: Api, vm: str) -> None:
    body = {"filesystem_id": "nothing"}
    assert (await api.call("POST", f"/v1/vms/{vm}/syncs", body)).refusal == (404, "not_found")
    assert (await api.call("POST", "/v1/vms/nothing/syncs", body)).refusal == (404, "not_found")
    assert (await api.call("POST", "/v1/vms/ubuntu/syncs", body)).refusal == (403, "forbidden")
    assert (await api.call("POST", f"/v1/vms/{vm}/syncs", {})).refusal == (400, "bad_request")
    mine = await make(api, "mine")
    foreign = (await other.fork())["vm_id"]
    reply = await other.call("POST", f"/v1/vms/{foreign}/syncs", {"filesystem_id": mine})
    assert reply.refusal == (404, "not_found")


async def test_a_busy_vm_sees_it_once_it_is_idle(api: Api, vm: str) -> None:
    filesystem = await make(api, "data")
    left = await api.run(vm, "sleep 300 & echo $!")
    sync = await bind(api, vm, filesystem)
    assert sync["live"] is False
    assert "next start" in sync["live_error"]
    path = f"/v1/vms/{vm}/syncs"
    assert await api.list_all(path, "syncs") == [sync]
    assert output(await api.run(vm, "cat /proc/mounts | grep -c /mnt/data")) == b"0\n"
    await api.run(vm, f"kill {output(left).decode()}")
    with anyio.fail_after(60):
        while output(await api.run(vm, "cat /proc/mounts | grep -c /mnt/data")) != b"1\n":
            await anyio.sleep(0.02)
    assert (await api.list_all(path, "syncs"))[0]["live"] is True
    # It goes in the same way; until then it cannot be deleted.
    left = await api.run(vm, "echo kept > /mnt/data/file; sleep 300 & echo $!")
    await api.call("DELETE", f"{path}/{sync['sync_id']}")
    reply = await api.call("DELETE", f"{ROOT}/{filesystem}")
    assert reply.refusal == (409, "conflict")
    assert output(await api.run(vm, "cat /mnt/data/file")) == b"kept\n"
    await api.run(vm, f"kill {output(left).decode()}")
    with anyio.fail_after(60):
        while (await api.call("DELETE", f"{ROOT}/{filesystem}")).status == 409:
            await anyio.sleep(0.02)
    assert (await api.call("GET", f"{ROOT}/{filesystem}")).refusal == (404, "not_found")
    assert output(await api.run(vm, "ls /mnt/data")) == b""


async def test_what_is_in_the_way_is_said_and_left_alone(api: Api, vm: str) -> None:
    filesystem = await make(api, "data")
    await api.run(vm, "ln -s /usr/share /mnt/data")
    sync = await bind(api, vm, filesystem)
    assert sync["live"] is False
    assert "in the way" in sync["live_error"]
    await api.run(vm, "readlink /mnt/data && rm /mnt/data")
    again = await bind(api, vm, filesystem)
    assert (again["live"], again["idempotent"]) == (True, True)


async def test_a_fork_has_its_parents_filesystems(api: Api, other: Api) -> None:
    parent = (await api.fork(public=True))["vm_id"]
    filesystem = await make(api, "data")
    sync = await bind(api, parent, filesystem)
    await api.run(parent, "echo secret > /mnt/data/file")
    child = (await api.fork(source_vm_id=parent))["vm_id"]
    (inherited,) = await api.list_all(f"/v1/vms/{child}/syncs", "syncs")
    assert (inherited["filesystem_id"], inherited["path"], inherited["live"]) == (filesystem, "/mnt/data", True)
    assert inherited["sync_id"] != sync["sync_id"]
    assert output(await api.run(child, "cat /mnt/data/file; echo more >> /mnt/data/file")) == b"secret\n"
    assert output(await api.run(parent, "cat /mnt/data/file")) == b"secret\nmore\n"
    # Another organisation's fork of the public VM has the VM's files, and not the filesystem's.
    foreign = (await other.fork(source_vm_id=parent))["vm_id"]
    assert await other.list_all(f"/v1/vms/{foreign}/syncs", "syncs") == []
    assert output(await other.run(foreign, "ls -A /mnt/data")) == b""
