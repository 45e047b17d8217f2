"""Filesystems end to end: two VMs at work in one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from arker import (
    AsyncArker,
    AsyncVM,
    BadRequestError,
    ConflictError,
    Filesystem,
    NotFoundError,
    UnsupportedOperationError,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def filesystem(ar: AsyncArker) -> AsyncIterator[Filesystem]:
    filesystem = await ar.create_filesystem(name="shared")
    yield filesystem
    for left in await ar.list_vms(limit=1000):
        await ar.vm(left.vm_id).delete()
    assert (await ar.delete_filesystem(filesystem.filesystem_id)).deleted


async def test_two_vms_write_to_one_filesystem(ar: AsyncArker, vm: AsyncVM, filesystem: Filesystem) -> None:
    other = await ar.fork("ubuntu")
    for each in (vm, other):
        sync = await each.create_sync(filesystem_id=filesystem.filesystem_id)
        assert (sync.path, sync.live, sync.live_error) == ("/mnt/shared", True, None)
    command = "cd /mnt/shared; for i in $(seq 200); do echo {} $i >> log; done; head -c 1000 /dev/urandom > {}"
    await asyncio.gather(vm.run(command.format("a", "a")), other.run(command.format("b", "b")))
    lines = (await vm.sync("/mnt/shared/log")).decode().splitlines()
    assert sorted(lines) == sorted(f"{name} {number}" for name in "ab" for number in range(1, 201))
    assert await vm.sync("/mnt/shared/b") == await other.sync("/mnt/shared/b")
    await other.sync("/mnt/shared/sent", b"from outside")
    assert (await vm.run("cat /mnt/shared/sent")).stdout == b"from outside"
    size = (await ar.get_filesystem(filesystem.filesystem_id)).size_bytes
    assert size == 2000 + len("from outside") + sum(len(line) + 1 for line in lines)
    # It outlives both.
    await vm.delete()
    await other.delete()
    third = await ar.fork("ubuntu")
    await third.create_sync(filesystem_id=filesystem.filesystem_id, path="/home/user/data")
    assert (await third.run("wc -l < data/log")).stdout == b"400\n"


async def test_a_fork_sees_it_too(ar: AsyncArker, vm: AsyncVM, filesystem: Filesystem) -> None:
    await vm.create_sync(filesystem_id=filesystem.filesystem_id, path="/data")
    await vm.run("echo one > /data/file; echo own > ~/file")
    child = await ar.fork(vm)
    await child.run("echo two >> /data/file; echo more >> ~/file")
    assert (await vm.run("cat /data/file ~/file")).stdout == b"one\ntwo\nown\n"
    (sync,) = await child.list_syncs()
    assert (sync.filesystem_id, sync.path) == (filesystem.filesystem_id, "/data")


async def test_conflicts_and_what_there_is_not(ar: AsyncArker, vm: AsyncVM, filesystem: Filesystem) -> None:
    with pytest.raises(ConflictError):
        await ar.create_filesystem(name="shared")
    sync = await vm.create_sync(filesystem_id=filesystem.filesystem_id)
    again = await vm.create_sync(filesystem_id=filesystem.filesystem_id)
    assert again.sync_id == sync.sync_id
    assert again.idempotent in (True, None)  # a mount does not say it
    with pytest.raises((ConflictError, UnsupportedOperationError)):  # generation 1 declares no conflict there
        await ar.delete_filesystem(filesystem.filesystem_id)
    with pytest.raises(BadRequestError):
        await vm.create_sync(filesystem_id=filesystem.filesystem_id, path="/etc")
    assert (await vm.delete_sync(sync.sync_id)).deleted
    assert len(await vm.list_syncs()) == 0
    with pytest.raises(NotFoundError):
        await vm.create_sync(filesystem_id="nothing")
    with pytest.raises(NotFoundError):
        await ar.get_filesystem("nothing")


async def test_the_list(ar: AsyncArker, filesystem: Filesystem) -> None:
    more = [await ar.create_filesystem(name=f"other-{number}") for number in range(3)]
    names = [each.name for each in await ar.list_filesystems(name_prefix="other-", limit=2)]
    assert names == ["other-2", "other-1"]
    assert filesystem.filesystem_id in {each.filesystem_id for each in await ar.list_filesystems()}
    for each in more:
        await ar.delete_filesystem(each.filesystem_id)
