"""Where uploads come from: each kind of source, on the wire, and sources that fail or change."""

from __future__ import annotations

import array
import asyncio
import errno
import gc
import gzip
import io
import mmap
import os
import pickle
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

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


async def test_pipes_from_files_to_others(store: Store, vm: AsyncVM) -> None:
    """The readers of pipes wait for their writers, in more threads than a loop has for its own work."""
    store.files["/from"] = DATA[:100_000]

    async def copy(number: int) -> None:
        reading, writing = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))

        async def write() -> None:
            with writing:
                await vm.download("/from", writing)

        with reading:
            uploading = asyncio.ensure_future(vm.upload(reading, f"/to/{number}"))
            await asyncio.sleep(0)
            await asyncio.gather(uploading, write())

    await asyncio.wait_for(asyncio.gather(*(copy(number) for number in range(40))), 60)
    assert [store.files[f"/to/{number}"] for number in range(40)] == [DATA[:100_000]] * 40


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


@pytest.mark.skipif(not os.path.exists("/proc/filesystems"), reason="there is no /proc on this system")
async def test_files_that_say_nothing_true_of_their_size(store: Store, vm: AsyncVM) -> None:
    names = ["/proc/filesystems", "/proc/version"]
    names += [name for name in ("/sys/kernel/mm/transparent_hugepage/enabled",) if os.access(name, os.R_OK)]
    for name in names:
        wanted = Path(name).read_bytes()
        result = await vm.upload(name, "/path")
        file = await asyncio.to_thread(open, name, "rb")
        await vm.upload(file, "/object")
        assert file.read() == b""
        file.close()
        (outcome,) = await vm.upload_many([(name, "/many")])
        assert outcome.ok
        assert (result.size, outcome.size) == (len(wanted), len(wanted))
        assert store.files["/path"] == store.files["/object"] == store.files["/many"] == wanted


async def test_a_file_with_holes_is_no_such_file(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    hollow = tmp_path / "hollow"
    with hollow.open("wb") as file:
        file.truncate(100_000)
    (outcome,) = await vm.upload_many([(hollow, "/many")])
    assert outcome.ok
    await vm.upload(hollow, "/path")
    assert store.files["/path"] == store.files["/many"] == bytes(100_000)


@pytest.mark.parametrize("data", [SMALL, DATA], ids=["small", "large"])
@pytest.mark.parametrize("strategy", ["auto", "chunks"])
async def test_whatever_holds_bytes_in_memory(
    store: Store, vm: AsyncVM, tmp_path: Path, data: bytes, strategy: Any
) -> None:
    (tmp_path / "file").write_bytes(data)
    with (tmp_path / "file").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapped.read(3)  # all of it goes, wherever it stands
    await vm.upload(mapped, "/mapped", strategy=strategy)
    (outcome,) = await vm.upload_many([(mapped, "/many")])
    assert outcome.ok
    numbers = array.array("H", data[: len(data) // 2 * 2])
    await vm.upload(cast("Any", numbers), "/numbers", strategy=strategy)
    await vm.sync("/sync", cast("Any", mapped))
    gc.collect()
    mapped.close()  # which it refuses as long as its memory is lent
    assert store.files["/mapped"] == store.files["/many"] == store.files["/sync"] == data
    assert store.files["/numbers"] == numbers.tobytes()
    with pytest.raises(InvalidArgumentError, match="can be read"):
        await vm.upload(mapped, "/closed")


class Broken:
    """A file object with next to nothing."""

    name: object = 7

    def read(self, size: int = -1) -> bytes:
        raise OSError(errno.EIO, "broken")

    def __repr__(self) -> str:
        return "<a broken thing>"


class Seeking(Broken):
    name = "known-by-this"

    def seek(self, offset: int, whence: int = 0) -> None:
        self._at = 10 if whence else offset

    def tell(self) -> int:
        return self._at if hasattr(self, "_at") else 0


class Short(Seeking):
    def read(self, size: int = -1) -> bytes:
        return b""


async def numbers() -> AsyncIterator[Any]:
    yield 1


async def test_errors_name_what_the_caller_gave(store: Store, vm: AsyncVM) -> None:
    given: list[tuple[Any, type[ArkerError], str]] = [
        (Broken(), LocalFileError, "<a broken thing>: broken"),
        (Seeking(), LocalFileError, "known-by-this: broken"),
        (Short(), FileChangedError, "known-by-this gives fewer bytes"),
        ([1, 2], InvalidArgumentError, r"=\[1, 2\] is not accepted: expected bytes from it, got int"),
        ((each for each in "a"), InvalidArgumentError, "=<generator object"),
        (numbers(), InvalidArgumentError, "=<async_generator object numbers"),
    ]
    for source, kind, words in given:
        with pytest.raises(kind, match=words):
            await vm.upload(source, "/f")
    (good, bad) = await vm.upload_many([(b"", "/good"), (cast("Any", [1]), "/bad")])
    assert good.ok
    assert isinstance(bad.error, InvalidArgumentError)
    assert bad.error.argument == "files[1][0]"


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
        assert error.message.endswith("; upload_dir uploads directories" if name == "." else "(on this machine)")
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
    """They are gone through in a thread, so that a slow one does not block the loop."""
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


async def test_iterables_that_reuse_their_buffer(store: Store, vm: AsyncVM) -> None:
    """Each piece is taken before the next one is asked for, or what it is then."""
    data = os.urandom(300_000)

    def read(buffer: Any) -> Iterator[int]:
        file = io.BytesIO(data)
        while count := file.readinto(buffer):
            yield count

    def views() -> Iterator[memoryview]:
        buffer = memoryview(bytearray(1000))
        for count in read(buffer):
            yield buffer[:count]

    def the_same() -> Iterator[bytearray]:
        buffer = bytearray(1000)
        for _ in read(buffer):
            yield buffer

    def released() -> Iterator[memoryview]:
        for start in range(0, len(data), 1000):
            with memoryview(data[start : start + 1000]) as view:
                yield view

    def apart() -> Iterator[memoryview]:
        for start in range(0, len(data), 1000):
            yield memoryview(bytes(each for byte in data[start : start + 1000] for each in (byte, 0)))[::2]

    async def asynchronous() -> AsyncIterator[memoryview]:
        for view in apart():
            yield view

    for source in (views, the_same, released, apart, asynchronous):
        await vm.upload(source(), "/f")
        assert store.files["/f"] == data, source


@pytest.mark.parametrize("seekable", [False, True])
async def test_a_file_object_whose_read_stops_as_an_iterator_does(store: Store, vm: AsyncVM, seekable: bool) -> None:
    """No future can have such an error: the upload would wait for it without end."""

    class Chunks(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return next(iter(()))

    class Once:
        def read(self, size: int = -1, /) -> bytes:
            return next(iter(()))

    with pytest.raises(RuntimeError, match="raised StopIteration") as caught:
        await vm.upload(Chunks(b"some") if seekable else Once(), "/f")
    assert isinstance(caught.value.__cause__, StopIteration)
    assert not store.files


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
