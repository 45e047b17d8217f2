"""Copies in a VM: whole or not at all, whatever is cancelled, killed or done at once."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Final

import anyio
import pytest

from arker import (
    AsyncVM,
    RemoteFileError,
)
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("before", [None, b"before"], ids=["new", "existing"])
async def test_copies_at_once_to_one_file(vm: AsyncVM, before: bytes | None) -> None:
    contents = [bytes([number]) * 2_000_000 for number in range(4)]
    for number, content in enumerate(contents):
        await vm.files.write_bytes(f"/tmp/{number}", content)
    for turn in range(5):
        if before is not None:
            await vm.files.write_bytes(f"/tmp/made-{turn}", before)
        await asyncio.gather(*(vm.files.copy(f"/tmp/{number}", f"/tmp/made-{turn}") for number in range(4)))
        assert await vm.files.read_bytes(f"/tmp/made-{turn}") in contents
    assert len(await vm.files.listdir("/tmp")) == 9


@pytest.fixture
async def slow(vm: AsyncVM) -> str:
    """Return a path from which a copy gets its first bytes only."""
    await vm.run("cd /tmp; mkfifo slow; (exec >slow; echo first; exec sleep 600) >/dev/null 2>&1 &")
    return "/tmp/slow"


async def begun(vm: AsyncVM) -> None:
    """Wait until a copy in /tmp/d has got something."""
    await until_found(vm, "/tmp/d -name '.arker-*' -size +0")


async def until_found(vm: AsyncVM, arguments: str) -> None:
    """Wait until find, with these arguments, finds something."""
    with anyio.fail_after(PATIENCE):
        while (await vm.run(f"find {arguments} | grep -q .")).exit_code != 0:
            await anyio.sleep(0.02)


@pytest.mark.parametrize("before", [None, "before\n"], ids=["new", "existing"])
async def test_a_copy_that_is_cancelled_leaves_nothing(vm: AsyncVM, slow: str, before: str | None) -> None:
    await vm.files.mkdir("/tmp/d")
    if before is not None:
        await vm.files.write_text("/tmp/d/file", before)
    copying = asyncio.create_task(vm.files.copy(slow, "/tmp/d/file"))
    await begun(vm)
    copying.cancel()
    await asyncio.wait({copying})
    assert copying.cancelled()
    assert await vm.files.listdir("/tmp/d") == ([] if before is None else ["file"])
    if before is not None:
        assert await vm.files.read_text("/tmp/d/file") == before


TREE: Final = "cd /tmp; mkdir -p d from/sub; echo x > from/file; echo y > from/sub/file; chmod 555 from/sub"
"""Makes a directory that has another one, of which a copy cannot be removed as it is."""

ONE_BY_ONE: Final = r"""#!/bin/sh
# Copies, and goes on for long.
/bin/cp "$@"
exec sleep 600
"""


async def test_a_copy_of_a_directory_that_is_cancelled_leaves_nothing(vm: AsyncVM) -> None:
    await vm.run(TREE)
    await vm.files.write_text(".local/bin/cp", ONE_BY_ONE, parents=True)
    await vm.files.chmod(".local/bin/cp", 0o755)
    copying = asyncio.create_task(vm.files.copy("/tmp/from", "/tmp/d/to", recursive=True))
    await until_found(vm, "/tmp/d -path '*/sub/file' -size +0")
    copying.cancel()
    await asyncio.wait({copying})
    assert copying.cancelled()
    assert await vm.files.listdir("/tmp/d") == []
    assert await vm.files.listdir("/tmp/from") == ["file", "sub"]


async def test_a_copy_of_a_directory_that_fails_leaves_nothing(vm: AsyncVM) -> None:
    await vm.run(f"{TREE}; chmod 000 from/file")
    with pytest.raises(RemoteFileError):
        await vm.files.copy("/tmp/from", "/tmp/d/to", recursive=True)
    assert await vm.files.listdir("/tmp/d") == []


@pytest.mark.parametrize("target", ["/tmp/d/to", "/tmp/d/to/", "to", "to//"])
async def test_a_copy_of_a_directory_keeps_permissions(vm: AsyncVM, target: str) -> None:
    await vm.run(TREE)
    await vm.files.copy("/tmp/from", target, recursive=True)
    assert (await vm.files.stat(f"{target}/sub")).mode & 0o777 == 0o555
    assert await vm.files.read_text(f"{target}/sub/file") == "y\n"
    with pytest.raises(FileExistsError):
        await vm.files.copy("/tmp/from", target, recursive=True)
    assert await vm.files.listdir(target) == ["file", "sub"]


async def test_copies_at_once_to_one_directory(vm: AsyncVM) -> None:
    await vm.files.mkdir("/tmp/to")
    for number in range(4):
        await vm.run(
            f"mkdir -p /tmp/from{number}; cd /tmp/from{number}; for i in $(seq 50); do echo x > {number}-$i; done"
        )
    for turn in range(5):
        made = await asyncio.gather(
            *(vm.files.copy(f"/tmp/from{number}", f"/tmp/to/{turn}", recursive=True) for number in range(4)),
            return_exceptions=True,
        )
        (winner,) = [number for number in range(4) if made[number] is None]
        assert all(isinstance(each, FileExistsError) for each in made if each is not None)
        names = await vm.files.listdir(f"/tmp/to/{turn}")
        assert len(names) == 50
        assert {name.partition("-")[0] for name in names} == {str(winner)}
    assert len(await vm.files.listdir("/tmp/to")) == 5


async def test_a_copy_whose_program_is_killed_leaves_the_file_as_it_was(vm: AsyncVM, slow: str) -> None:
    await vm.files.write_text("/tmp/d/file", "before\n", parents=True)
    copying = asyncio.create_task(vm.files.copy(slow, "/tmp/d/file"))
    await begun(vm)
    await vm.run("pkill -KILL -x cp")
    with pytest.raises(RemoteFileError):
        await copying
    assert await vm.files.listdir("/tmp/d") == ["file"]
    assert await vm.files.read_text("/tmp/d/file") == "before\n"


async def test_a_copy_where_no_other_file_can_be_made_is_written_in_place(vm: AsyncVM) -> None:
    await vm.run("cd /tmp; mkdir d; echo before > d/file; chmod 555 d; echo after > new")
    await vm.files.copy("/tmp/new", "/tmp/d/file")
    assert await vm.files.read_text("/tmp/d/file") == "after\n"
    assert await vm.files.listdir("/tmp/d") == ["file"]


async def test_copies_of_any_names(vm: AsyncVM) -> None:
    names = ["-n", "--", "a\nb", "a\n", "(", "!", "sp ace", "'q'", "$HOME", "~x", "*", os.fsdecode(b"\xff\xfe")]
    await vm.files.write_text("/tmp/d/source", "content", parents=True)
    for name in names:
        await vm.files.copy("/tmp/d/source", f"/tmp/d/{name}")
    for name in names:
        await vm.files.copy(f"/tmp/d/{name}", f"/tmp/d/2{name}")
        assert await vm.files.read_text(f"/tmp/d/2{name}") == "content"
    for name in ("-n", "--", "(", "!"):
        await vm.files.copy("/tmp/d/source", name)  # in the home directory
        assert await vm.files.read_text(name) == "content"
    assert sorted(await vm.files.listdir("/tmp/d")) == sorted(["source", *names, *(f"2{name}" for name in names)])


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("/tmp/d", "/tmp/d/in"),
        ("/tmp/d", "/tmp/d/in//"),
        ("/tmp/link", "/tmp/d/in"),
        ("/tmp/d/.", "/tmp/d/in"),
        ("/", "/tmp/in"),
    ],
)
async def test_a_directory_is_not_copied_into_itself(vm: AsyncVM, source: str, target: str) -> None:
    await vm.run("cd /tmp; mkdir d; echo x > d/file; ln -s d link")
    with pytest.raises(RemoteFileError) as caught:
        await vm.files.copy(source, target, recursive=True)
    assert caught.value.errno == errno.EINVAL
    assert await vm.files.listdir("/tmp/d") == ["file"]
    assert not await vm.files.exists(target)


async def test_a_copy_to_one_of_several_names_is_seen_by_all(vm: AsyncVM) -> None:
    await vm.run("cd /tmp; echo before > file; ln file other; ln -s file link; echo after > new; chmod 640 new")
    await vm.files.copy("/tmp/new", "/tmp/other")
    assert await vm.files.read_text("/tmp/file") == "after\n"
    await vm.files.write_text("/tmp/new", "at last\n")
    await vm.files.copy("/tmp/new", "/tmp/link")
    assert await vm.files.read_text("/tmp/other") == "at last\n"
    assert (await vm.files.stat("/tmp/link", follow_symlinks=False)).kind == "symlink"
    assert (await vm.files.stat("/tmp/file")).mode == 0o640


async def test_a_file_that_must_not_be_written_is_not_replaced(vm: AsyncVM) -> None:
    await vm.run("cd /tmp; echo kept > file; chmod 400 file; echo new > new")
    with pytest.raises(PermissionError):
        await vm.files.copy("/tmp/new", "/tmp/file")
    assert await vm.files.read_text("/tmp/file") == "kept\n"
