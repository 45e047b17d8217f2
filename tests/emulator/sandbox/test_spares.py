"""Spare sandboxes: started before a VM needs one, given to one VM, once."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from arker.emulator.sandbox.base import HOME, SandboxError
from arker.emulator.sandbox.bubblewrap import provider as module
from arker.emulator.sandbox.bubblewrap.arguments import Host
from arker.emulator.sandbox.bubblewrap.graft import graft
from arker.emulator.sandbox.bubblewrap.identity import Identity, spare_identity
from arker.emulator.sandbox.bubblewrap.image import Points, furnish
from arker.emulator.sandbox.bubblewrap.interpreter import choose_interpreter
from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from arker.emulator.sandbox.host import spares
from arker.emulator.sandbox.host.machine import Limits
from tests.emulator.sandbox.support import children, kill_vms, read, sh, until, write

pytestmark = pytest.mark.anyio


@pytest.fixture
async def own(place: Path) -> AsyncIterator[BubblewrapProvider]:
    """Return a provider that has one spare, and no VM."""
    provider = await BubblewrapProvider.open(place)
    yield provider
    await provider.close()
    assert children("bwrap") == []


async def test_the_first_vm_finds_one(own: BubblewrapProvider) -> None:
    (spare,) = children("bwrap")
    vm = await own.create("one")
    places = "bin dev etc home lib lib64 mnt opt proc root run sbin srv sys tmp usr var"
    assert (await sh(vm, "pwd; ls -A; ls /")).text == f"{HOME}\n" + places.replace(" ", "\n")
    await until(lambda: len(children("bwrap")) == 2)
    assert spare in children("bwrap")
    await vm.delete()
    await until(lambda: len(children("bwrap")) == 1)
    assert spare not in children("bwrap"), "it does not come back"


async def test_a_copy_has_its_own_files_in_it(own: BubblewrapProvider) -> None:
    await own.spares.let_go()
    vm = await own.create("parent")
    await write(vm, "file", b"content")
    await sh(vm, "mkdir /new /etc/new; ln -s x link; mkfifo fifo; rm /etc/hostname; chmod 700 /srv; chmod 1755 /etc")
    listing = "cd /; find etc home tmp srv new -printf '%P %y %m %n %l %T@\\n' | sort"
    listed = (await sh(vm, listing)).stdout
    await vm.close()
    await until(lambda: len(children("bwrap")) == 1)
    (spare,) = children("bwrap")
    copy = await own.create("copy", source=vm)
    assert await read(copy, "file") == b"content"
    assert spare in children("bwrap")
    assert (await sh(copy, listing)).stdout == listed
    assert (await sh(copy, "cat /proc/self/mountinfo | wc -l")).text == (
        await sh(vm, "cat /proc/self/mountinfo | wc -l")
    ).text


async def test_one_that_has_died_is_passed_over(own: BubblewrapProvider) -> None:
    await kill_vms()
    vm = await own.create("one")
    assert (await sh(vm, "echo well")).text == "well"


async def test_a_tree_that_cannot_be_moved_is_started_on(own: BubblewrapProvider) -> None:
    vm = await own.create("one")
    await sh(vm, "for i in {1..400}; do : > /etc/$i; done; echo here > file; chmod 555 /srv")
    await vm.close()
    assert (await sh(vm, "cat file; ls /etc/400; rm /etc/???")).text == "here\n/etc/400"
    await vm.close()
    assert (await sh(vm, "cat file; stat -c %a /srv")).text == "here\n555"


async def test_they_are_let_go_and_come_back(own: BubblewrapProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(name: str, idle: float) -> None:
        monkeypatch.setattr(spares, "IDLE", idle)
        assert (await sh(await own.create(name), "echo well")).text == "well"

    await asyncio.gather(*(use(f"one-of-three-{number}", 600.0) for number in range(3)))
    await until(lambda: len(children("bwrap")) >= 3 + 2)
    await use("fourth", 0.2)  # which takes one of them
    await until(lambda: len(children("bwrap")) == 4)  # the VMs themselves
    await use("fifth", 600.0)
    await until(lambda: len(children("bwrap")) > 5)


async def test_there_are_never_many(own: BubblewrapProvider) -> None:
    vms = [await own.create(f"crowd-{number}") for number in range(12)]
    await asyncio.gather(*(sh(vm, "true") for vm in vms))
    await asyncio.sleep(0.3)
    assert len(children("bwrap")) <= len(vms) + Limits().spares


async def test_there_may_be_none(place: Path) -> None:
    provider = await BubblewrapProvider.open(place, Limits(spares=0))
    await provider.spares.let_go()
    assert children("bwrap") == []
    vm = await provider.create("one")
    assert (await sh(vm, "echo well")).text == "well"
    await asyncio.sleep(0.1)
    assert len(children("bwrap")) == 1
    await provider.close()


async def test_a_vm_that_is_cancelled_takes_none_away(own: BubblewrapProvider) -> None:
    vm = await own.create("one")
    for delay in (0, 0.0005, 0.001, 0.002, 0.004, 0.008):
        task = asyncio.create_task(sh(vm, "true"))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await vm.close()
    assert (await sh(vm, "echo well")).text == "well"
    await own.spares.let_go()
    assert len(children("bwrap")) == 1


async def test_moving_is_undone_where_it_fails(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for root in (source, target):
        (root / "etc/ssl").mkdir(parents=True)
    (source / "etc/file").write_text("content")
    (source / "later").write_text("content")
    (target / "later/full").mkdir(parents=True)  # in the way
    assert not graft(source, target, ["/etc/ssl"])
    assert sorted(os.listdir(source)) == ["etc", "later"]
    assert (source / "etc/file").read_text() == "content"
    assert not graft(tmp_path / "missing", target, ["/etc/ssl"])


async def test_a_vm_has_no_files_before_it_needs_them(own: BubblewrapProvider) -> None:
    vm = await own.create("one")
    copy = await own.create("copy", source=vm)
    for each in (vm, copy):
        assert each.tree.fresh
        assert os.listdir(each.tree.path) == []
    assert (await sh(vm, "cat /etc/hostname; id -un; stat -c '%a %U' /tmp /root /")).text == (
        "vm\nuser\n1777 user\n700 user\n755 user"
    )
    assert not vm.tree.fresh
    assert copy.tree.fresh
    assert (await sh(copy, "cat /etc/hostname")).text == "vm"


@pytest.mark.parametrize("spares", [0, 1])
async def test_files_that_cannot_be_made_are_made_by_the_next_start(
    place: Path, spares: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = await BubblewrapProvider.open(place, Limits(spares=spares))
    try:
        vm = await provider.create("one")
        with monkeypatch.context() as patch:

            def fail(root: Path, owner: Identity | None, points: Points | None = None) -> None:
                furnish(root, owner, points)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            patch.setattr(module, "furnish", fail)
            with pytest.raises(SandboxError, match="disk is full") as caught:
                await sh(vm, "true")
        assert caught.value.code == "resource_pressure"
        assert vm.tree.fresh
        assert os.listdir(vm.tree.path) == []
        assert (await sh(vm, "cat /etc/hostname")).text == "vm"
    finally:
        await provider.close()
    assert children("bwrap") == []


async def test_a_new_tree_has_its_mount_points_as_a_start_would_make_them(tmp_path: Path) -> None:
    owner = spare_identity()
    host = Host.look(await choose_interpreter(tmp_path, owner), owner)
    together, one_by_one = tmp_path / "together", tmp_path / "one-by-one"
    for root in (together, one_by_one):
        root.mkdir()
    furnish(together, owner, host.points())
    furnish(one_by_one, owner)
    host.prepare(one_by_one, owner)
    assert _entries(together) == _entries(one_by_one)
    before = _entries(together)
    host.prepare(together, owner)
    assert _entries(together) == before


def _entries(root: Path) -> dict[str, tuple[int, int, int, str]]:
    """Return what is in a tree: mode, owner and group, and what a link says."""
    found = {str(path.relative_to(root)): (path.lstat(), path) for path in root.rglob("*")}
    return {
        name: (status.st_mode, status.st_uid, status.st_gid, os.readlink(path) if path.is_symlink() else "")
        for name, (status, path) in found.items()
    }


async def test_a_vm_that_never_started_is_adopted_as_such(place: Path) -> None:
    provider = await BubblewrapProvider.open(place)
    await provider.create("one")
    await provider.close(keep_files=True)
    provider = await BubblewrapProvider.open(place)
    vm = await provider.adopt("one")
    assert (await sh(vm, "cat /etc/hostname")).text == "vm"
    await provider.close()
