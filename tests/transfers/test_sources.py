"""Where uploads come from: each kind of source, on the wire, and sources that fail or change."""

from __future__ import annotations

import errno
import gzip
import io
import os
import pickle
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from arker import (
    ArkerError,
    AsyncVM,
    FileChangedError,
    InvalidArgumentError,
    LocalFileError,
    TransferProgress,
)
from tests.support.server import Recorded, Reply, ScriptedServer
from tests.transfers.support import Store

pytestmark = pytest.mark.anyio

DATA = bytes(range(251)) * 20_000  # 5 MB, so by a presigned PUT
SMALL = b"some bytes"


@pytest.fixture
def store(server: ScriptedServer) -> Store:
    return Store(server)


class Pipe(io.RawIOBase):
    """A file object that cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(memoryview(buffer)[:70_000])


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 300_000):
        yield data[start : start + 300_000]


@pytest.mark.parametrize("data", [b"", SMALL, DATA], ids=["empty", "small", "large"])
async def test_every_kind_of_source(store: Store, vm: AsyncVM, tmp_path: Path, data: bytes) -> None:
    file, packed = tmp_path / "file", tmp_path / "packed.gz"
    file.write_bytes(data)
    packed.write_bytes(gzip.compress(data, 1))
    with (
        file.open("rb") as buffered,
        file.open("rb", buffering=0) as raw,
        file.open("r+b") as both,
        gzip.open(packed) as unpacking,
    ):
        sources: dict[str, Any] = {
            "path": file,
            "text path": str(file),
            "bytes": data,
            "bytearray": bytearray(data),
            "view": memoryview(b"x" + data)[1:],
            "BytesIO": io.BytesIO(data),
            "buffered": buffered,
            "raw": raw,
            "both": both,
            "gzip": unpacking,
            "pipe": Pipe(data),
            "iterable": pieces(data),
        }
        for name, source in sources.items():
            result = await vm.upload(source, f"/{name}")
            assert store.files[f"/{name}"] == data, name
            assert (result.size, result.path) == (len(data), f"/{name}")
            assert result.strategy == ("put" if data is DATA else "inline")
        assert {each.tell() for each in (buffered, raw, both, unpacking)} == {len(data)}


async def test_file_objects_are_read_from_where_they_stand(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    with file.open("r+b") as opened:
        opened.write(b"abc")  # not flushed
        await vm.upload(opened, "/file")
        assert opened.tell() == 10
    stream = io.BytesIO(b"0123456789")
    stream.seek(7)
    await vm.upload(stream, "/stream")
    assert store.files == {"/file": b"3456789", "/stream": b"789"}
    stream.write(b"the caller's still")


async def test_a_body_that_is_read_again_for_another_attempt(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(DATA)
    failures = [Reply(status=503), Reply(status=403), Reply(status=503)]
    store.disturb = lambda request: failures.pop() if request.method == "PUT" and failures else None
    for strategy in ("put",):
        await vm.upload(file, "/f", strategy=strategy)
    assert store.files["/f"] == DATA
    assert len(store.requests("PUT")) == 4
    assert store.urls == 2


@pytest.mark.parametrize("strategy", ["put", "chunks"])
@pytest.mark.parametrize("how", ["grows", "shrinks", "is touched"])
async def test_a_file_that_changes_is_an_error(
    store: Store, vm: AsyncVM, tmp_path: Path, strategy: Any, how: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(DATA)

    def change(request: Recorded) -> None:
        if how == "grows":
            with file.open("ab") as more:
                more.write(b"more")
        elif how == "shrinks":
            os.truncate(file, 3_000_000)
        else:
            os.utime(file, ns=(1, 1))

    store.disturb = change
    with pytest.raises(FileChangedError) as caught:
        await vm.upload(file, "/f", strategy=strategy)
    assert (caught.value.operation, caught.value.vm_id) == ("vm.upload", "vm-1")
    if strategy == "put":
        assert not store.files


async def test_a_source_that_says_nothing_of_its_size(store: Store, vm: AsyncVM) -> None:
    with pytest.raises(FileChangedError, match="longer than it says"):
        await vm.upload("/proc/self/status", "/f")
    assert not store.files


async def test_sources_that_cannot_be_read(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, number in (("nothing", errno.ENOENT), (".", errno.EISDIR), ("fifo", errno.EINVAL)):
        with pytest.raises(LocalFileError) as caught:
            await vm.upload(tmp_path / name, "/f")
        error = caught.value
        assert isinstance(error, OSError)
        assert (error.errno, error.filename) == (number, str(tmp_path / name))
        assert (error.code, error.operation, error.outcome, error.attempts) == (
            "local_file", "vm.upload", "not_started", 0,
        )  # fmt: skip
        assert isinstance(error.__cause__, OSError)
        again = pickle.loads(pickle.dumps(error))
        assert (again.errno, str(again)) == (number, str(error))
    assert not store.server.requests


async def test_a_source_that_fails_while_it_is_read(store: Store, vm: AsyncVM) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 1_000_000:
                raise OSError(errno.EIO, "bad disk")
            return super().read(size)

    async def broken() -> AsyncIterator[Any]:
        yield b"some"
        raise RuntimeError("mine")

    async def texts() -> AsyncIterator[Any]:
        yield "text"

    with pytest.raises(LocalFileError, match="bad disk"):
        await vm.upload(Broken(DATA), "/f")
    with pytest.raises(RuntimeError, match="mine"):
        await vm.upload(broken(), "/f")
    with pytest.raises(InvalidArgumentError, match="expected bytes from it, got str"):
        await vm.upload(texts(), "/f")
    assert not store.files


async def test_ordinary_iterables(store: Store, vm: AsyncVM) -> None:
    """They are gone through in a thread, so that one which takes its time holds up nobody."""
    threads: set[int] = set()

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(DATA), 1000):
            threads.add(threading.get_ident())
            yield DATA[start : start + 1000]

    await vm.upload(pieces(), "/of-a-generator")
    await vm.upload([b"some", b" of ", b"each"], "/of-a-list")
    assert store.files == {"/of-a-generator": DATA, "/of-a-list": b"some of each"}
    assert threading.get_ident() not in threads
    with pytest.raises(InvalidArgumentError, match="expected bytes from it, got int"):
        await vm.upload(range(3), "/f")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("source", [None, 7, {"x": b"x"}, io.StringIO("x"), "", memoryview(b"abcd")[::2], "a\0b"])
async def test_bad_sources(server: ScriptedServer, vm: AsyncVM, source: Any) -> None:
    for call in (vm.upload(source, "/f"), vm.upload_many([(b"x", "/g"), (source, "/f")])):
        with pytest.raises(InvalidArgumentError) as caught:
            await call
        assert caught.value.argument in ("source", "files[1][0]")
    assert not server.requests


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("strategy", "fast"),
        ("strategy", None),
        ("concurrency", 0),
        ("concurrency", 1.5),
        ("part_size", 10),
        ("part_size", 2**40),
        ("verify", True),
        ("mode", -1),
        ("mode", 0o10000),
        ("mode", "755"),
        ("progress", 7),
        ("deadline", 0),
    ],
)
async def test_bad_options(server: ScriptedServer, vm: AsyncVM, name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await vm.upload(b"x", "/f", **{name: value})
    assert caught.value.argument == name
    assert not server.requests


async def test_strategies_that_a_file_is_too_large_for(server: ScriptedServer, vm: AsyncVM, tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(6 * 2**30)
    for strategy, source in (("inline", DATA), ("put", huge)):
        with pytest.raises(InvalidArgumentError) as caught:
            await vm.upload(source, "/f", strategy=strategy)  # type: ignore[arg-type]
        assert caught.value.argument == "strategy"
    assert not server.requests


async def test_progress_adds_up(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(DATA)
    seen: list[TransferProgress] = []
    for strategy in ("put", "chunks"):
        seen.clear()
        await vm.upload(file, "/f", strategy=strategy, progress=seen.append)
        assert (seen[0].done, seen[-1].done, seen[-1].total) == (0, len(DATA), len(DATA))
        assert (seen[0].files_done, seen[-1].files_done, seen[-1].files_total) == (0, 1, 1)
        assert [each.done for each in seen] == sorted(each.done for each in seen)
        assert len(seen) > 4
        assert seen[-1].fraction == 1.0
        assert {(each.operation, each.vm_id, each.path, each.direction) for each in seen} == {
            ("vm.upload", "vm-1", "/f", "upload")
        }


async def test_progress_that_raises_breaks_nothing(store: Store, vm: AsyncVM) -> None:
    def fail(_: TransferProgress) -> None:
        raise ArkerError("mine")

    await vm.upload(DATA, "/f", progress=fail)
    assert store.files["/f"] == DATA
