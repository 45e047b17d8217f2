"""Mounts and syncs are two names of one thing."""

from __future__ import annotations

import anyio
import pytest

from tests.emulator.server.support import PATIENCE, Api

pytestmark = pytest.mark.anyio


async def prepared(api: Api) -> tuple[str, str]:
    vm = (await api.fork())["vm_id"]
    reply = await api.call("POST", "/v1/filesystems", {"name": "data"})
    return vm, reply.json["filesystem_id"]


async def test_a_mount_is_made_listed_used_and_deleted(today: Api) -> None:
    vm, filesystem = await prepared(today)
    path = f"/v1/vms/{vm}/mounts"
    made = (await today.call("POST", path, {"filesystem_id": filesystem})).json
    assert made == {
        "mount_id": made["mount_id"],
        "vm_id": vm,
        "filesystem_id": filesystem,
        "path": "/mnt/data",
        "region": "us-west-2",
        "state": "mounted",
    }
    assert (await today.run(vm, "echo hi > /mnt/data/file; cat /mnt/data/file"))["stdout"] == "hi\n"
    assert (await today.get(path))["mounts"] == (await today.get(f"{path}?filesystem_id={filesystem}"))["mounts"]
    assert (await today.get(f"{path}?filesystem_id=x"))["mounts"] == []
    taken = await today.call("POST", path, {"filesystem_id": filesystem, "path": "/mnt/data/below"})
    assert (taken.refusal, taken.details) == ((409, "conflict"), {"resource": "mount"})
    # Generation 1 declares no conflict there.
    mounted = (422, "unsupported_operation") if today.generation == "1" else (409, "conflict")
    assert (await today.call("DELETE", f"/v1/filesystems/{filesystem}")).refusal == mounted
    assert (await today.call("DELETE", f"{path}/{made['mount_id']}")).json == {"deleted": True}
    again = await today.call("DELETE", f"{path}/{made['mount_id']}")
    assert (again.refusal, again.details) == ((404, "not_found"), {"resource": "mount"})


async def test_states_of_a_mount(today: Api) -> None:
    vm, filesystem = await prepared(today)
    path = f"/v1/vms/{vm}/mounts"
    await today.run(vm, "touch /mnt/taken")
    failed = (await today.call("POST", path, {"filesystem_id": filesystem, "path": "/mnt/taken"})).json
    assert failed["state"] == "failed"
    assert failed["state_detail"]
    await today.call("DELETE", f"{path}/{failed['mount_id']}")
    run = await today.background(vm, "echo ready; sleep 60")
    await today.printed(vm, run, "ready")
    waiting = (await today.call("POST", path, {"filesystem_id": filesystem, "path": "/mnt/later"})).json
    assert waiting["state"] == "attaching"
    assert "state_detail" not in waiting
    await today.call("DELETE", f"/v1/vms/{vm}/runs/{run}")
    with anyio.fail_after(PATIENCE):
        while True:  # what looked after the command may still be there when the next one begins
            await today.run(vm, "true")
            (mount,) = (await today.get(path))["mounts"]
            if mount["state"] == "mounted":
                break
            assert mount["state"] == "attaching"


async def test_either_name_leads_to_the_same_records(both: Api) -> None:
    vm, filesystem = await prepared(both)
    path = f"/v1/vms/{vm}"
    sync = (await both.call("POST", f"{path}/syncs", {"filesystem_id": filesystem})).json
    mount = (await both.call("POST", f"{path}/mounts", {"filesystem_id": filesystem})).json
    assert (mount["mount_id"], sync["live"]) == (sync["sync_id"], True)
    assert [each["mount_id"] for each in (await both.get(f"{path}/mounts"))["mounts"]] == [sync["sync_id"]]
    assert (await both.call("DELETE", f"{path}/mounts/{sync['sync_id']}")).status == 200
    assert (await both.get(f"{path}/syncs"))["syncs"] == []


async def test_each_generation_has_its_own_name_only(old: Api, new: Api) -> None:
    for api, noun in ((old, "mounts"), (new, "syncs")):
        vm = (await api.fork())["vm_id"]
        assert (await api.call("GET", f"/v1/vms/{vm}/{noun}")).refusal == (404, "not_found")
    for below in ("tunnels", "resize"):
        assert (await new.call("POST", f"/v1/vms/{vm}/{below}", {})).details == {"resource": "route"}
