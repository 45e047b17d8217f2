"""Filesystems and mounts."""

from __future__ import annotations

from tests.generations.walks.registry import NOWHERE, walk
from tests.generations.wire import Wire


async def _filesystem(wire: Wire, name: str) -> str:
    return str((await wire.get("POST", "/v1/filesystems", {"name": name}))["filesystem_id"])


@walk
async def create_mount(wire: Wire, vm: str) -> None:
    filesystem = await _filesystem(wire, "mounted")
    mount = await wire.get("POST", f"{vm}/mounts", {"filesystem_id": filesystem, "path": "/mnt/data"})
    assert (mount["path"], mount["state"]) == ("/mnt/data", "mounted")
    await wire.get("POST", f"{vm}/runs", {"command": "echo kept > /mnt/data/file"})
    other = await _filesystem(wire, "other")
    await wire.refused("conflict", "POST", f"{vm}/mounts", {"filesystem_id": other, "path": "/mnt/data"})
    await wire.get("POST", f"{vm}/mounts", {"filesystem_id": filesystem})
    for wrong in ({}, {"filesystem_id": 5}, {"filesystem_id": filesystem, "mode": "ro"}):
        await wire.refused("bad_request", "POST", f"{vm}/mounts", wrong)
    assert await wire.refused("not_found", "POST", f"{vm}/mounts", {"filesystem_id": "none"}) == {
        "resource": "filesystem"
    }
    await wire.refused("not_found", "POST", f"{NOWHERE}/mounts", {"filesystem_id": filesystem})


@walk
async def list_mounts(wire: Wire, vm: str) -> None:
    first, second = await _filesystem(wire, "first"), await _filesystem(wire, "second")
    for each in (first, second):
        await wire.get("POST", f"{vm}/mounts", {"filesystem_id": each, "path": f"/mnt/{each}"})
    page = await wire.get("GET", f"{vm}/mounts?limit=1")
    rest = await wire.get("GET", f"{vm}/mounts?limit=1&cursor={page['next_cursor']}")
    assert [page["mounts"][0]["filesystem_id"], rest["mounts"][0]["filesystem_id"]] == [second, first]
    (found,) = (await wire.get("GET", f"{vm}/mounts?filesystem_id={first}"))["mounts"]
    assert found["filesystem_id"] == first
    await wire.refused("not_found", "GET", f"{NOWHERE}/mounts")


@walk
async def delete_mount(wire: Wire, vm: str) -> None:
    filesystem = await _filesystem(wire, "to go")
    mount = await wire.get("POST", f"{vm}/mounts", {"filesystem_id": filesystem, "path": "/mnt/go"})
    assert await wire.get("DELETE", f"{vm}/mounts/{mount['mount_id']}") == {"deleted": True}
    assert await wire.refused("not_found", "DELETE", f"{vm}/mounts/{mount['mount_id']}") == {"resource": "mount"}


@walk
async def list_filesystems(wire: Wire, vm: str) -> None:
    for name in ("a1", "a2", "b1"):
        await _filesystem(wire, name)
    page = await wire.get("GET", "/v1/filesystems?limit=2")
    rest = await wire.get("GET", f"/v1/filesystems?limit=2&cursor={page['next_cursor']}")
    assert [each["name"] for each in page["filesystems"] + rest["filesystems"]][:3] == ["b1", "a2", "a1"]
    found = await wire.get("GET", "/v1/filesystems?name_prefix=a")
    assert {each["name"] for each in found["filesystems"]} == {"a1", "a2"}
    await wire.refused("bad_request", "GET", "/v1/filesystems?limit=-1")
    if wire.closed:
        await wire.refused("bad_request", "GET", "/v1/filesystems?limit=1001")


@walk
async def create_filesystem(wire: Wire, vm: str) -> None:
    await _filesystem(wire, "only")
    assert await wire.refused("already_exists", "POST", "/v1/filesystems", {"name": "only"}) == {
        "resource": "filesystem"
    }
    for wrong in ({}, {"name": ""}, {"name": 5}, {"name": "x", "region": "us-west-2"}, {"": 1}, {"": 1, "x": 1}):
        await wire.refused("bad_request", "POST", "/v1/filesystems", wrong)


@walk
async def get_filesystem(wire: Wire, vm: str) -> None:
    filesystem = await _filesystem(wire, "found")
    assert (await wire.get("GET", f"/v1/filesystems/{filesystem}"))["name"] == "found"
    assert await wire.refused("not_found", "GET", "/v1/filesystems/none") == {"resource": "filesystem"}


@walk
async def delete_filesystem(wire: Wire, vm: str) -> None:
    if wire.closed:
        mounted = await _filesystem(wire, "mounted")
        await wire.get("POST", f"{vm}/mounts", {"filesystem_id": mounted})
        details = await wire.refused("unsupported_operation", "DELETE", f"/v1/filesystems/{mounted}")
        assert details["feature"] == "shared_filesystem"
    filesystem = await _filesystem(wire, "gone")
    assert await wire.get("DELETE", f"/v1/filesystems/{filesystem}") == {"deleted": True}
    assert await wire.refused("not_found", "DELETE", f"/v1/filesystems/{filesystem}") == {"resource": "filesystem"}
