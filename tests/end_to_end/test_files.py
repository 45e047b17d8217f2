"""Files in and out, on the embedded backend."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import PurePosixPath

import pytest

from arker import CHUNK_SIZE, ArkerError, AsyncVM, BadRequestError, NotFoundError

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("size", [0, 1, 1000, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE + 7])
async def test_what_goes_in_comes_out(vm: AsyncVM, size: int) -> None:
    data = os.urandom(size)
    await vm.sync("/tmp/file.bin", data)
    digest = await vm.run("sha256sum < /tmp/file.bin")
    assert digest.stdout_text.split()[0] == hashlib.sha256(data).hexdigest()
    assert await vm.sync("/tmp/file.bin") == data


async def test_kinds_of_buffers_and_paths(vm: AsyncVM) -> None:
    for data in (b"bytes", bytearray(b"bytearray"), memoryview(b"a view of bytes")[2:6]):
        await vm.sync(PurePosixPath("/tmp/kinds"), data)
        assert await vm.sync("/tmp/kinds") == bytes(data)
    await vm.sync("relative/to/home", b"x")
    assert await vm.sync("/home/user/relative/to/home") == b"x"
    await vm.sync("näme with 'quotes' and\nnewline", b"y")
    assert await vm.sync("näme with 'quotes' and\nnewline") == b"y"


async def test_a_file_is_replaced_whole(vm: AsyncVM) -> None:
    await vm.sync("file", b"a longer first version")
    await vm.sync("file", b"short")
    assert await vm.sync("file") == b"short"


async def test_what_there_is_not_to_read(vm: AsyncVM) -> None:
    with pytest.raises(NotFoundError):
        await vm.sync("/tmp/no-such-file")
    await vm.run("mkfifo /tmp/fifo; ln -s loop /tmp/loop")
    for path in ("/tmp", "/tmp/fifo", "/dev/zero", "/tmp/loop"):
        with pytest.raises(ArkerError) as caught:
            await vm.sync(path)
        assert isinstance(caught.value, (BadRequestError, NotFoundError)), path


async def test_a_failed_write_leaves_the_old_file(vm: AsyncVM) -> None:
    await vm.sync("file", b"old")
    await vm.run("mkdir -p directory/full; mkdir locked; chmod 500 locked; cp file locked/")
    with pytest.raises(ArkerError):
        await vm.sync("directory", b"new")
    with pytest.raises(ArkerError):
        await vm.sync("/usr/bin/python3", b"new")
    assert await vm.sync("file") == b"old"
    left = await vm.run("ls -A . directory; ls -A /tmp")
    assert left.stdout_text.split() == [".:", "directory", "file", "locked", "directory:", "full"]


async def test_many_at_once(vm: AsyncVM) -> None:
    files = {f"/tmp/many/{number}": os.urandom(5000) for number in range(40)}
    await asyncio.gather(*(vm.sync(path, data) for path, data in files.items()))
    assert list(await asyncio.gather(*map(vm.sync, files))) == list(files.values())
