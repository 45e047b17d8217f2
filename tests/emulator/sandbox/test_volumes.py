"""Volumes: directories that outlive VMs and are shared by them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from arker.emulator.sandbox.base import RunSpec, SandboxError, Volume
from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from arker.emulator.sandbox.host.sandbox import AgentSandbox
from arker.emulator.sandbox.plain import PlainProvider, UnprotectedWarning
from tests.emulator.sandbox.support import read, rest_after, sh, unique_seconds, until, write

pytestmark = pytest.mark.anyio

PATH = "/mnt/shared"


@pytest.fixture
async def volume(provider: BubblewrapProvider) -> Volume:
    return await provider.create_volume(f"volume-{os.urandom(6).hex()}")


async def test_two_vms_share_a_volume_in_both_directions(
    vm: AgentSandbox, other_vm: AgentSandbox, volume: Volume
) -> None:
    await vm.bind({PATH: volume})
    await other_vm.bind({"/home/user/data/deep": volume})
    await sh(vm, f"echo one > {PATH}/one; umask 077; mkdir {PATH}/d; echo inner > {PATH}/d/file")
    assert (await sh(other_vm, "cd data/deep; cat one d/file; echo two > two; stat -c %U:%G one")).text == (
        "one\ninner\nuser:user"
    )
    assert await read(vm, f"{PATH}/two") == b"two\n"
    await write(vm, f"{PATH}/three", b"three")
    assert (await sh(other_vm, "cat data/deep/three")).text == "three"


async def test_it_outlives_vms_and_is_not_copied_with_them(
    provider: BubblewrapProvider, vm: AgentSandbox, other_vm: AgentSandbox, volume: Volume
) -> None:
    await vm.bind({PATH: volume})
    await sh(vm, f"echo kept > {PATH}/file; rm -rf {PATH} 2>/dev/null; echo kept > {PATH}/file")
    child = await provider.create("volume-child", source=vm)
    assert (await sh(child, f"ls -A {PATH}")).text == ""
    await child.bind({PATH: volume})
    assert (await sh(child, f"cat {PATH}/file")).text == "kept"
    await child.delete()
    await vm.delete()
    await other_vm.bind({PATH: volume})
    assert (await sh(other_vm, f"cat {PATH}/file")).text == "kept"


async def test_an_idle_vm_has_it_at_once_and_a_busy_one_when_it_is_idle(vm: AgentSandbox, volume: Volume) -> None:
    await rest_after(vm, "true")
    await vm.bind({PATH: volume})
    assert vm.unbound(PATH) is None
    await sh(vm, f"touch {PATH}/file")
    assert vm.holds(volume)
    left = await vm.run(RunSpec(command=f"sleep {unique_seconds()} & echo started"))
    await left.wait()
    await vm.bind({"/mnt/elsewhere": volume})
    assert "next start" in str(vm.unbound("/mnt/elsewhere"))
    assert (await sh(vm, f"ls {PATH}; ls /mnt/elsewhere")).text == "file"
    await left.kill()
    while vm.unbound("/mnt/elsewhere") is not None:
        await sh(vm, "true")
    assert (await sh(vm, f"ls /mnt/elsewhere; ls {PATH}")).text == "file"
    await rest_after(vm, "true")
    await vm.bind({})
    assert not vm.holds(volume)
    assert (await sh(vm, "ls /mnt/elsewhere")).text == ""


async def test_a_foreground_command_and_an_open_upload_are_not_ended(vm: AgentSandbox, volume: Volume) -> None:
    run = await vm.run(RunSpec(command="until [ -e go ]; do sleep 0.02; done"))
    await vm.bind({PATH: volume})
    assert vm.unbound(PATH) is not None
    await sh(vm, "touch go")
    assert (await run.wait()).exit_code == 0
    writer = await vm.open_write("file", 3)
    os.write(writer.fd, b"abc")
    await vm.bind({"/mnt/other": volume})
    await writer.commit()
    assert await read(vm, "file") == b"abc"
    while vm.unbound("/mnt/other") is not None:  # what looked after the commands may live a moment longer
        await sh(vm, "true")


@pytest.mark.parametrize(
    "command",
    [
        "ln -s /oldroot{victim} /mnt/shared",
        "rmdir /mnt; ln -s /oldroot{victim} /mnt",
        "mv /mnt /elsewhere; ln -s ../../../..{victim} /mnt",
        "ln -s /home /mnt/shared",
        "touch /mnt/shared",
    ],
)
async def test_a_link_or_a_file_in_its_place_is_left_alone(
    vm: AgentSandbox, volume: Volume, place: Path, command: str
) -> None:
    victim = place / "victim"
    victim.mkdir()
    victim.chmod(0o777)
    (victim / "shared").mkdir()
    (victim / "shared").chmod(0o777)
    await vm.bind({PATH: volume})
    await vm.bind({})
    await rest_after(vm, f"rmdir {PATH}; {command.format(victim=victim)}")
    await vm.bind({PATH: volume})
    assert "a link or a file is in the way" in str(vm.unbound(PATH))
    assert (await sh(vm, f"echo works; echo x > {PATH}/file")).text == "works"
    await vm.close()
    assert (await sh(vm, "echo works")).text == "works"
    assert not vm.holds(volume)
    assert await volume.size() == 0
    # Once the VM has cleared the way, it may have the volume.
    await rest_after(vm, f"rm -f {PATH} 2>/dev/null; rm -f /mnt 2>/dev/null; mkdir -p {PATH}")
    await vm.bind({PATH: volume})
    assert vm.unbound(PATH) is None
    await sh(vm, f"echo content > {PATH}/file")
    assert await volume.size() == 8
    assert sorted(path.name for path in victim.rglob("*")) == ["shared"]
    for path in (victim / "shared", victim):
        path.rmdir()


async def test_a_link_made_while_it_is_bound_does_not_lead_to_the_host(
    vm: AgentSandbox, volume: Volume, place: Path
) -> None:
    victim = place / "victim"
    victim.mkdir()
    victim.chmod(0o777)
    await vm.bind({"/srv/data/shared": volume})
    # A mount point can be neither removed nor moved, but what leads to it can be.
    await sh(vm, f"mv /srv/data /srv/moved; ln -s /oldroot{victim} /srv/data")
    await vm.close()
    assert (await sh(vm, "echo x > /srv/data/shared/file; echo works")).text == "works"
    assert vm.unbound("/srv/data/shared") is not None
    assert list(victim.iterdir()) == []
    victim.rmdir()


async def test_places_that_are_refused(vm: AgentSandbox, volume: Volume) -> None:
    for path in (
        *("/", "/usr", "/usr/local/x", "/proc", "/proc/x", "/dev/shm", "/sys", "/bin", "/lib/x", "/home", "/home/user"),
        *("/etc/ssl", "/etc/ssl/certs/x", "/etc", "relative", "/a//b", "/a/../b", "/a/.", "/a/", "", "//a"),
    ):
        print(repr(path))  # which it was, should it fail
        with pytest.raises(SandboxError) as caught:
            await vm.bind({path: volume})
        assert caught.value.code == "bad_request"
        assert (await sh(vm, "pwd")).text == "/home/user"


async def test_one_volume_in_another_is_refused(vm: AgentSandbox, volume: Volume) -> None:
    with pytest.raises(SandboxError, match="overlap"):
        await vm.bind({PATH: volume, f"{PATH}/inner": volume})


async def test_nothing_of_the_host_can_be_made_in_a_volume(vm: AgentSandbox, volume: Volume) -> None:
    await vm.bind({PATH: volume})
    await sh(vm, f"cp /usr/bin/env {PATH}/env; chmod 6755 {PATH}/env; ln -s / {PATH}/root")
    options = (await sh(vm, f"grep ' {PATH} ' /proc/self/mountinfo")).text.split()[5]
    assert {"nosuid", "nodev"} <= set(options.split(","))
    assert (await sh(vm, f"mknod {PATH}/zero c 1 5")).code != 0
    assert (await sh(vm, f"mv {PATH} /mnt/away || rmdir {PATH}")).code != 0


async def test_its_size_is_measured(vm: AgentSandbox, volume: Volume) -> None:
    assert await volume.size() == 0
    await vm.bind({PATH: volume})
    await sh(
        vm,
        f"cd {PATH}; head -c 1000 /dev/zero > a; ln a b; ln -s /usr/bin/env c; mkdir -p d/e; echo hi > 'd/e/x\ny';"
        "ln -s / root; mkfifo pipe; chmod 000 d/e d a",
    )
    assert await volume.size() == 1003


async def test_a_removed_volume_leaves_nothing(provider: BubblewrapProvider, vm: AgentSandbox) -> None:
    volume = await provider.create_volume("removed")
    await vm.bind({PATH: volume})
    await sh(vm, f"mkdir -p {PATH}/d/e; touch {PATH}/d/e/f; chmod 000 {PATH}/d/e {PATH}/d {PATH}")
    await vm.bind({})
    await volume.remove()
    assert not (vm.tree.path.parent.parent / "volumes" / "removed").exists()
    again = await provider.create_volume("removed")
    assert await again.size() == 0


async def test_without_isolation_a_volume_is_a_link(place: Path) -> None:
    with pytest.warns(UnprotectedWarning):
        provider = await PlainProvider.open(place)
    vm, other = await provider.create("one"), await provider.create("two")
    volume = await provider.create_volume("volume")
    run = await vm.run(RunSpec(command="cat"))
    await vm.bind({PATH: volume})
    await other.bind({"/home/user/data": volume})
    assert vm.unbound(PATH) is None
    await write(vm, f"{PATH}/file", b"shared")
    assert await read(other, "data/file") == b"shared"
    assert (await sh(other, "cat file; pwd", cwd="/home/user/data")).text.startswith("shared")
    child = await provider.create("three", source=vm)
    await child.bind({})
    with pytest.raises(SandboxError):
        await read(child, f"{PATH}/file")
    await write(vm, "/mnt/taken", b"")
    await vm.bind({PATH: volume, "/mnt/taken": volume})
    assert "taken" in str(vm.unbound("/mnt/taken"))
    assert await volume.size() == 6
    await run.kill()
    await vm.delete()
    assert await read(other, "data/file") == b"shared"
    await provider.close()
    await until(lambda: list(place.iterdir()) == [])
