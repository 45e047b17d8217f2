"""Files in and out: a path means the VM's file, only regular ones are opened, and writes put whole files into place."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.host.sandbox import AgentSandbox
from tests.emulator.sandbox.support import kill_vms, read, sh, write

pytestmark = pytest.mark.anyio


async def test_there_and_back(vm: AgentSandbox) -> None:
    content = os.urandom(3_000_000)
    await write(vm, "a/b/file", content)
    assert await read(vm, "/home/user/a/b/file") == content
    assert (await sh(vm, "stat -c '%a %U %s' a a/b a/b/file | tr '\\n' ';'")).text.startswith("755 user")
    assert (await sh(vm, "stat -c '%a %U %s' a/b/file")).text == "644 user 3000000"
    await write(vm, "a/b/file", b"")
    assert await read(vm, "~/../a/b/file".replace("~/..", ".")) == b""


async def test_names_that_are_no_utf8(vm: AgentSandbox) -> None:
    await sh(vm, "echo -n content > $'odd\\xff name'")
    assert await read(vm, "odd\udcff name") == b"content"
    await write(vm, "new\udcfe", b"x")
    assert (await sh(vm, "ls new*")).stdout == b"new\xfe\n"


UNREADABLE = [
    ("missing", "not_found"),
    ("/etc/shadow", "not_found"),
    ("/no/such/file", "not_found"),
    ("../../../../etc/shadow", "not_found"),
    ("absolute", "not_found"),
    ("relative", "not_found"),
    ("secret", "not_found"),
    ("loop", "bad_request"),
    ("fifo", "bad_request"),
    ("device", "bad_request"),
    ("/dev/zero", "bad_request"),
    ("/dev/tty", "bad_request"),
    ("directory", "bad_request"),
    ("directory/", "bad_request"),
    ("file/", "bad_request"),
    ("file/below", "bad_request"),
    ("/", "bad_request"),
    ("closed/file", "bad_request"),
    ("/proc/1/root", "bad_request"),
    ("/proc/self/mem", "bad_request"),
    ("/proc/1/environ", "bad_request"),
    ("/proc/1/root/etc/shadow", "not_found"),
    ("socket", "bad_request"),
    ("x" * 300, "bad_request"),
    ("", "bad_request"),
    ("nul\0", "bad_request"),
    ("\ud800", "bad_request"),
]


async def test_what_cannot_be_read(vm: AgentSandbox, place: Path) -> None:
    secret = place / "secret"
    secret.write_text("of the host")
    await sh(
        vm,
        "ln -s /etc/shadow absolute; ln -s ../../../../etc/shadow relative; ln -s loop loop; mkfifo fifo; "
        f"ln -s /dev/zero device; mkdir directory closed; echo > file; chmod 000 closed; ln -s {secret} secret; "
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'",
    )
    try:
        for path, code in UNREADABLE:
            print(repr(path))  # which it was, should it fail
            with pytest.raises(SandboxError) as caught:
                await asyncio.wait_for(read(vm, path), 60)
            assert caught.value.code == code
            assert str(caught.value)
    finally:
        secret.unlink()


async def test_a_link_means_the_vms_own_file(vm: AgentSandbox) -> None:
    await sh(vm, "ln -s /etc/hostname link; ln -s /root up; echo inside > /root/secret")
    assert await read(vm, "link") == b"vm\n"
    assert await read(vm, "up/secret") == b"inside\n"
    assert await read(vm, "../../../../../../etc/hostname") == b"vm\n"


@pytest.mark.parametrize("path", ["link/file", "../../root/file", "/root/../root/file", "deep/file"])
async def test_writing_through_links_and_dots_stays_inside(vm: AgentSandbox, path: str) -> None:
    await sh(vm, "ln -s /root link; ln -s ../../../../../../root deep")
    await write(vm, path, b"mine")
    assert (vm.tree.path / "root/file").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "path",
    [
        "/usr/file",
        "/proc/file",
        "/proc/sys/kernel/core_pattern",
        "/dev/null",
        "fifo",
        "loop",
        "directory",
        ".",
        "/",
        "file/x",
    ],
)
async def test_what_cannot_be_written(vm: AgentSandbox, path: str) -> None:
    await sh(vm, "mkfifo fifo; ln -s loop loop; mkdir directory; echo > file")
    with pytest.raises(SandboxError) as caught:
        await asyncio.wait_for(write(vm, path, b"x"), 60)
    assert caught.value.code in ("bad_request", "not_found")
    assert (await sh(vm, "ls -A | grep -c upload")).text == "0"


async def test_a_file_appears_as_a_whole(vm: AgentSandbox) -> None:
    await write(vm, "file", b"old")
    await sh(vm, "chmod 750 file")
    writer = await vm.open_write("file", 3)
    os.write(writer.fd, b"new")
    assert await read(vm, "file") == b"old"
    assert (await sh(vm, "ls -A")).text == "file"
    await writer.commit()
    assert await read(vm, "file") == b"new"
    assert (await sh(vm, "stat -c %a file")).text == "750"
    with pytest.raises(SandboxError):
        await writer.commit()
    await writer.abort()


async def test_an_aborted_file_leaves_no_trace(vm: AgentSandbox) -> None:
    writer = await vm.open_write("file", 3)
    os.write(writer.fd, b"new")
    await writer.abort()
    await writer.abort()
    assert (await sh(vm, "ls -A")).text == ""


async def test_links_and_other_names_are_written_through(vm: AgentSandbox) -> None:
    await sh(
        vm,
        "mkdir d; echo long-old > d/real; ln -s d/real soft; echo old > one; ln one two; ln -s nothing dangling",
    )
    await write(vm, "soft", b"through")
    await write(vm, "one", b"both")
    await write(vm, "dangling", b"made")
    assert (await sh(vm, "cat d/real; echo; readlink soft; cat two; echo; stat -c %h one; cat nothing")).text == (
        "through\nd/real\nboth\n2\nmade"
    )


async def test_a_commit_after_the_vm_died_says_so(vm: AgentSandbox) -> None:
    writer = await vm.open_write("file", 3)
    await kill_vms()
    with pytest.raises(SandboxError) as caught:
        await writer.commit()
    assert caught.value.code == "unavailable"
    assert (await sh(vm, "ls -A")).text == ""


async def test_a_parent_that_is_removed_meanwhile(vm: AgentSandbox) -> None:
    writer = await vm.open_write("d/file", 3)
    await sh(vm, "rm -rf d")
    with pytest.raises(SandboxError):
        await writer.commit()
