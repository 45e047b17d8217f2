"""A VM whose files are not whole: the next backend refuses it alone, and keeps what there is of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from tests.emulator.server.kept import ROOT, options, refused, running
from tests.emulator.server.support import Api, chunk, output
from tests.support.forked import ForkedEmulator
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio

MANY = "mkdir many; for i in $(seq 300); do echo $i > many/$i; done"
"""Makes so many files that forks share them."""


async def sharing_fork(api: Api, state: Path, vm: str, **fields: Any) -> str:
    """Return a fork that shares the VM's files. While a command's last processes are still ending, they are copied."""
    with anyio.fail_after(PATIENCE):
        while True:
            fork = str((await api.fork(source_vm_id=vm, **fields))["vm_id"])
            if (state / "vms" / f".stack-{fork}").is_file():
                return fork
            await api.delete(fork)
            await anyio.sleep(0.1)


def lose(place: Path) -> None:
    place.unlink()


def empty(place: Path) -> None:
    place.write_bytes(b"")


def spoil(place: Path) -> None:
    place.write_bytes(b"..\n")


@pytest.mark.parametrize("damage", [lose, empty, spoil])
async def test_a_list_of_layers_that_is_lost_or_damaged(
    state: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    async with running(state) as api:
        vm = (await api.fork(name="hurt", durable=True))["vm_id"]
        first = await api.run(vm, MANY)
        sound = await sharing_fork(api, state, vm, name="sound")
        layered = state / "vms" / f".stack-{vm}"
    stack = layered.read_bytes()
    damage(layered)
    async with running(state) as api:
        (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert f"VM {vm} cannot be used" in told
        assert str(layered) in told
        # The others are served, and what is in layers is still theirs when one of them is deleted.
        assert output(await api.run(sound, "cat many/300")) == b"300\n"
        # It is listed under its name, and what the records know is answered.
        names = {each.get("name") for each in await api.list_all("/v1/vms", "vms", source_org_id="org_local")}
        assert names == {"hurt", "sound"}
        assert (await api.get("/v1/vms/hurt"))["vm_id"] == vm
        assert (await api.get_run(vm, first["run_id"]))["exit_code"] == 0
        assert (await api.call("POST", "/v1/fork", {"source_vm_name": "ubuntu", "name": "hurt"})).status == 409
        # Whatever needs its files is refused.
        for method, path, body in (
            ("POST", f"/v1/vms/{vm}/runs", {"command": "true"}),
            ("POST", f"/v1/vms/{vm}/sessions", {"cwd": "many"}),
            ("POST", f"/v1/vms/{vm}/sync", {"op": "read", "path": "many/1"}),
            ("POST", f"/v1/vms/{vm}/sync", {"op": "manifest", "path": "many"}),
            ("POST", f"/v1/vms/{vm}/sync", {"op": "write", "writes": [chunk("new", b"text")]}),
            ("POST", "/v1/fork", {"source_vm_name": "hurt"}),
            ("POST", "/v1/fork", {"source_vm_id": vm}),
        ):
            reply = await api.call(method, path, body)
            assert reply.refusal == (422, "unrecoverable"), (path, body, reply)
            assert str(layered) in reply.message
            assert reply.details["resource"]["kind"] == "vm"
        await api.delete(sound)
    # Repaired, it is as it was.
    layered.write_bytes(stack)
    caplog.clear()
    async with running(state) as api:
        assert "cannot be used" not in caplog.text
        assert output(await api.run("hurt", "cat many/300; ls many | wc -l")) == b"300\n300\n"


async def test_a_layer_or_the_own_files_that_are_missing(state: Path) -> None:
    async with running(state) as api:
        vm = (await api.fork(name="vm"))["vm_id"]
        await api.run(vm, MANY)
        child = await sharing_fork(api, state, vm)
        other = (await api.fork())["vm_id"]
        await api.run(other, "echo content > file")
    (layer,) = (state / "vms").glob(".layer-*")
    aside = state.parent / "aside"
    layer.rename(aside)
    async with running(state) as api:
        for each in (vm, child):
            reply = await api.call("POST", f"/v1/vms/{each}/runs", {"command": "true"})
            assert reply.refusal == (422, "unrecoverable")
            assert str(layer) in reply.message
        assert output(await api.run(other, "cat file")) == b"content\n"
    aside.rename(layer)
    shutil.rmtree(state / "vms" / child)
    async with running(state) as api:
        assert output(await api.run(vm, "ls many | wc -l")) == b"300\n"
        assert (await api.call("POST", f"/v1/vms/{child}/runs", {"command": "true"})).code == "unrecoverable"


async def test_a_damaged_vm_is_deleted_with_what_there_is_of_it(state: Path) -> None:
    async with running(state) as api:
        vm = (await api.fork(name="hurt"))["vm_id"]
        await api.run(vm, MANY)
        sound = await sharing_fork(api, state, vm)
    (state / "vms" / f".stack-{vm}").write_bytes(b"")
    async with running(state) as api:
        await api.delete(vm)
        assert (await api.fork(name="hurt"))["vm_id"] != vm
        assert output(await api.run(sound, "ls many | wc -l")) == b"300\n"
    assert [path.name for path in (state / "vms").iterdir() if vm in path.name] == []
    async with running(state) as api:
        assert output(await api.run(sound, "ls many | wc -l")) == b"300\n"
        await api.delete(sound)
        assert not list((state / "vms").glob(".layer-*"))


async def test_what_was_going_on_in_a_damaged_vm_has_failed(state: Path) -> None:
    """A durable run, which would be run again, and a mounted filesystem, which stays the VM's."""
    async with running(state, isolation="none", kill=True) as api:
        vm = (await api.fork(durable=True))["vm_id"]
        await api.fork()
        made = await api.call("POST", "/v1/filesystems", {"name": "shared"})
        mount = {"filesystem_id": made.json["filesystem_id"], "path": "/mnt/f"}
        assert (await api.call("POST", f"/v1/vms/{vm}/mounts", mount)).status == 200
        going = await api.background(vm, "echo begun; sleep 600")
        await api.printed(vm, going, "begun")
    (state / "vms" / vm).rename(state.parent / "aside")
    async with running(state, isolation="none") as api:
        run = await api.get_run(vm, going)
        assert (run["state"], run["retry_count"]) == ("failed", 0)
        assert "it is not run again, since the VM is damaged: the files of" in run["fail_reason"]
        (mounted,) = (await api.get(f"/v1/vms/{vm}/mounts"))["mounts"]
        assert (mounted["state"], mounted["filesystem_id"]) == ("failed", mount["filesystem_id"])
        assert (await api.call("DELETE", f"/v1/filesystems/{mount['filesystem_id']}")).status == 409
    (state.parent / "aside").rename(state / "vms" / vm)
    async with running(state, isolation="none") as api:
        assert output(await api.run(vm, "echo here")) == b"here\n"


async def test_all_files_of_vms_missing_is_damage_of_the_directory(state: Path) -> None:
    async with running(state, isolation="none") as api:
        vm = (await api.fork(name="here"))["vm_id"]
        await api.run(vm, "echo content > file")
    (state / "vms").rename(state.parent / "aside")
    for _ in range(2):  # the first refusal changes nothing
        await refused(state, "damaged", f"the files of {vm} should be in .*/vms, which is not there", isolation="none")
    (state.parent / "aside").rename(state / "vms")
    async with (
        ForkedEmulator(options(state, isolation="none")) as emulator,
        aiohttp.ClientSession() as session,
    ):
        api = Api(session, emulator.url, emulator.api_key)
        assert output(await api.read("here", "file"), "content") == b"content\n"


def test_a_server_that_is_started_by_hand_says_it_on_standard_error(state: Path) -> None:
    command = [sys.executable, "-m", "arker.emulator", "--isolation", "none", "--state-parent", str(state.parent)]
    command += ["--state", str(state)]

    def ended(work: Callable[[Api], Awaitable[str]]) -> tuple[str, str]:
        """Return what comes of some work with a server, and what that has written to standard error."""
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            ready = json.loads(process.stdout.readline())

            async def working() -> str:
                async with aiohttp.ClientSession() as session:
                    return await work(Api(session, ready["url"], ready["api_key"]))

            try:
                done = asyncio.run(working())
            finally:
                process.terminate()
            return done, process.stderr.read()

    async def fork(api: Api) -> str:
        return str((await api.fork())["vm_id"])

    async def run(api: Api) -> str:
        return (await api.call("POST", f"/v1/vms/{vm}/runs", {"command": "true"})).code

    vm, told = ended(fork)
    assert "cannot be used" not in told
    shutil.rmtree(state / "vms" / vm)
    code, told = ended(run)
    assert code == "unrecoverable"
    assert f"VM {vm} cannot be used" in told
    assert f"the files of {vm} should be in {state / 'vms' / vm}, and are not there" in told
