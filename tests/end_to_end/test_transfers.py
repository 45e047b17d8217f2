"""Transfers on the embedded backend: every way in and out, what is atomic, what is left when they fail."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arker import (
    ArkerError,
    AsyncArker,
    AsyncVM,
    BadRequestError,
    FileChangedError,
    IntegrityError,
    NotFoundError,
    TransferError,
    UnsupportedOperationError,
)
from arker.emulator import Emulator
from arker.emulator.control.rules import Moment
from arker.transfer import Strategy
from tests.support.forked import ForkedEmulator

pytestmark = pytest.mark.anyio

DATA = os.urandom(9_000_000)
DIGEST = hashlib.sha256(DATA).hexdigest()
PART = 1_000_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


async def digest_in(vm: AsyncVM, path: str) -> str:
    return (await vm.run(["sha256sum", path], check=True)).stdout_text.split()[0]


async def clean(vm: AsyncVM, *directories: str) -> bool:
    """Return whether nothing of a transfer is left: neither parts nor sessions."""
    listed = await vm.run(["find", *directories, "-name", ".arker-*"])
    return not listed.stdout and len(list(await vm.list_sessions())) == 1


@pytest.mark.parametrize(
    ("strategy", "verify"),
    [("auto", "full"), ("put", "size"), ("parts", "size"), ("parts", "full"), ("chunks", "full")],
)
async def test_every_way_in(vm: AsyncVM, source: Path, strategy: Strategy, verify: Any) -> None:
    result = await vm.upload(source, "deep/down/file", strategy=strategy, part_size=PART, verify=verify)
    assert result.strategy == ("put" if strategy == "auto" else strategy)
    assert result.sha256 == (None if strategy == "parts" and verify == "size" else DIGEST)
    assert await digest_in(vm, "/home/user/deep/down/file") == DIGEST
    assert await clean(vm, "/home/user")


@pytest.mark.parametrize("path", ["-n", '/tmp/it\'s\na "file"', "/tmp/*", "näme"])
async def test_unusual_names(vm: AsyncVM, path: str) -> None:
    await vm.upload(DATA, path, strategy="parts", part_size=4 * PART, mode=0o600)
    listed = await vm.run(["stat", "-c", "%a %s", "--", path], check=True)
    assert listed.stdout_text.split() == ["600", str(len(DATA))]
    assert await clean(vm, "/home/user", "/tmp")


@pytest.mark.parametrize("strategy", ["inline", "put", "parts", "chunks"])
async def test_modes_and_symlinks(vm: AsyncVM, strategy: Strategy) -> None:
    await vm.run("echo old > file; chmod 741 file; ln -s file link; mkdir directory; ln -s directory there", check=True)
    await vm.upload(b"new", "link", strategy=strategy)
    await vm.upload(b"fresh", "fresh", strategy=strategy, mode=0o4750)
    stat = await vm.run("stat -c '%a %N' file link fresh; cat file", check=True)
    assert stat.stdout_text == "741 'file'\n777 'link' -> 'file'\n4750 'fresh'\nnew"
    for place in ("directory", "there"):
        with pytest.raises((BadRequestError, TransferError), match="directory"):
            await vm.upload(b"x", place, strategy=strategy)
    assert not (await vm.run("ls -A directory")).stdout
    assert await clean(vm, "/home/user")


async def test_a_failed_upload_leaves_the_old_file(vm: AsyncVM) -> None:
    """It stays until the new one takes its place, and no part is left."""
    await vm.upload(b"old", "/tmp/file")
    with pytest.raises(ArkerError):
        await vm.upload(DATA, "/etc/hostname/file", strategy="parts", part_size=PART)
    await vm.run("mkdir locked; echo old > locked/file; chmod 555 locked", check=True)
    with pytest.raises(ArkerError):
        await vm.upload(DATA, "locked/file", strategy="parts", part_size=PART)
    assert await vm.sync("locked/file") == b"old\n"
    assert await clean(vm, "/home/user", "/tmp")


async def test_a_digest_that_differs_is_an_error(vm: AsyncVM) -> None:
    """What checks digests in this VM does not tell the truth, and is found first."""
    tool = "cd .local/bin && printf '#!/bin/sh\\nsha1sum\\n' > sha256sum && chmod +x sha256sum"
    await vm.run(["sh", "-c", f"mkdir -p .local/bin && {tool}"], check=True)
    with pytest.raises(IntegrityError, match="another digest"):
        await vm.upload(DATA, "file", strategy="parts", part_size=4 * PART, verify="full")
    assert await clean(vm, "/home/user")
    with pytest.raises(NotFoundError):
        await vm.sync("file")


async def test_every_way_out(vm: AsyncVM, tmp_path: Path) -> None:
    await vm.upload(DATA, "file")
    for options in ({}, {"part_size": PART}, {"part_size": PART, "concurrency": 1}):
        result = await vm.download("file", tmp_path / "target", **options)  # type: ignore[arg-type]
        assert (tmp_path / "target").read_bytes() == DATA
        assert result.strategy == ("ranges" if options else "get")
    memory = io.BytesIO()
    await vm.download("file", memory)
    assert memory.getvalue() == DATA
    async with vm.open_read("file") as stream:
        assert await stream.read() == DATA
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]


async def test_a_file_that_changes_in_the_vm(vm: AsyncVM) -> None:
    await vm.upload(DATA, "file")
    async with vm.open_read("file") as stream:
        await stream.read(10)
        await vm.upload(DATA[::-1], "file")
        # What was begun goes on with the old file; what begins anew would be of the new one.
        assert stream._reading is not None  # pyright: ignore[reportPrivateUsage]
        stream._reading.close()  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(FileChangedError):
            await stream.read()


async def test_many_there_and_back(vm: AsyncVM, tmp_path: Path) -> None:
    files = {f"/tmp/many/{number % 7}/{number}": os.urandom(number * 13) for number in range(150)}
    files["/tmp/many/large"] = DATA
    sent = await vm.upload_many([(data, path) for path, data in files.items()] + [(b"x", "/tmp")])
    assert [each.path for each in sent if not each.ok] == ["/tmp"]
    pairs = [(path, tmp_path / str(number)) for number, path in enumerate(files)]
    got = await vm.download_many([*pairs, ("/tmp", tmp_path / "directory")], part_size=PART)
    assert [each.path for each in got if not each.ok] == ["/tmp"]
    for number, data in enumerate(files.values()):
        assert (tmp_path / str(number)).read_bytes() == data
    assert len(list(tmp_path.iterdir())) == len(files)


@pytest.fixture(scope="module")
def bare() -> Iterator[Emulator]:
    """Run a backend without presigned URLs."""
    with ForkedEmulator(presigned=False, isolation="none") as emulator:
        yield emulator


async def test_a_server_without_presigned_urls(bare: Emulator, source: Path, tmp_path: Path) -> None:
    async with AsyncArker(**bare.client_options) as ar, await ar.fork("ubuntu") as vm:
        with pytest.raises(UnsupportedOperationError):
            await vm.upload(source, "file", strategy="put")
        await vm.sync("file", DATA)
        assert await vm.sync("file") == DATA
        assert (await vm.upload(source, "file", mode=0o600)).strategy == "chunks"
        assert (await vm.download("file", tmp_path / "back")).strategy == "inline"
        assert (tmp_path / "back").read_bytes() == DATA
        async with vm.open_read("file") as stream:
            assert await stream.read() == DATA


async def test_a_dead_url_is_renewed(emulator: Emulator, vm: AsyncVM, source: Path, tmp_path: Path) -> None:
    with emulator.faults.expire(operation="presigned_put", times=2) as put:
        await vm.upload(source, "file", strategy="parts", part_size=2 * PART)
    with emulator.faults.expire(operation="presigned_get", times=2) as get:
        await vm.download("file", tmp_path / "back", part_size=PART)
    assert (tmp_path / "back").read_bytes() == DATA
    assert (put.fired, get.fired) == (2, 2)


async def test_the_reply_that_names_the_session_is_lost(emulator: Emulator, vm: AsyncVM) -> None:
    moments: tuple[Moment, ...] = ("before", "after")
    for moment in moments:
        with emulator.faults.close(operation="create_session", moment=moment) as fault:
            await vm.upload(DATA, "file", strategy="parts", part_size=4 * PART)
        assert fault.fired == 1
        assert await clean(vm, "/home/user")
    with emulator.faults.close(operation="run", moment="after") as fault:
        await vm.upload(DATA, "file", strategy="parts", part_size=4 * PART)
    assert fault.fired == 1
    assert await digest_in(vm, "file") == DIGEST
    assert await clean(vm, "/home/user")


async def test_a_vm_that_goes_meanwhile(ar: AsyncArker, emulator: Emulator) -> None:
    vm = await ar.fork("ubuntu")
    with emulator.faults.throttle(bytes_per_second=100_000) as fault:  # it takes ten seconds for a part
        upload = asyncio.create_task(vm.upload(DATA, "file", strategy="parts", part_size=PART))
        while not fault.refresh().fired:
            await asyncio.sleep(0.01)
        await vm.delete()
        with pytest.raises(ArkerError):
            await upload


@pytest.mark.parametrize("strategy", ["inline", "put"])
async def test_a_wrong_digest_is_refused(vm: AsyncVM, monkeypatch: pytest.MonkeyPatch, strategy: Strategy) -> None:
    # It is computed while the bytes are sent, so the VM has all of them by the time it learns of it.
    other = hashlib.sha256(b"something else").copy
    monkeypatch.setattr("arker._files.hashing.hashlib", SimpleNamespace(sha256=other))
    with pytest.raises(BadRequestError):
        await vm.upload(DATA[:PART], "wrong", strategy=strategy)
    assert (await vm.run(["test", "-e", "wrong"])).exit_code == 1
