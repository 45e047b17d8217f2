"""Ways out of a VM on the wire: ranges, a single GET, streams; versions that differ; targets (section 6)."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import stat
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from arker import (
    AsyncVM,
    ConfigurationError,
    FileChangedError,
    ForbiddenError,
    InvalidArgumentError,
    LocalFileError,
    NetworkError,
    NotFoundError,
    TransferProgress,
    UnavailableError,
)
from tests.support.server import Drop, Recorded, Reply, ScriptedServer
from tests.transfers.support import Store

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
DATA = bytes(range(253)) * 24_000  # 6 MB
OTHER = bytes(range(1, 254)) * 24_000


@pytest.fixture
def store(server: ScriptedServer) -> Store:
    return Store(server, files={"/f": DATA, "/small": b"small", "/empty": b""})


def ranges(store: Store) -> list[str | None]:
    return [request.headers.get("Range") for request in store.requests("GET")]


# --- to a local file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "how"), [("/small", "inline"), ("/empty", "inline"), ("/f", "get")])
async def test_to_a_file(store: Store, vm: AsyncVM, tmp_path: Path, path: str, how: str) -> None:
    target = tmp_path / "target"
    seen: list[TransferProgress] = []
    result = await vm.download(path, target, progress=seen.append)
    assert target.read_bytes() == store.files[path]
    assert (result.path, result.size, result.strategy) == (path, len(store.files[path]), how)
    assert (seen[0].done, seen[-1].done, seen[-1].files_done) == (0, result.size, 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]


async def test_in_ranges(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    target = tmp_path / "target"
    result = await vm.download("/f", target, part_size=MIB, concurrency=3)
    assert target.read_bytes() == DATA
    assert result.strategy == "ranges"
    assert sorted(filter(None, ranges(store)))[:2] == ["bytes=0-1048575", "bytes=1048576-2097151"]
    assert len(ranges(store)) == 6
    # The first reply tells the version, the others are for that one only.
    first, *rest = [request.headers.get("If-Match") for request in store.requests("GET")]
    assert first is None
    assert None not in rest
    assert store.server.peak <= 3


async def test_a_server_without_ranges_sends_all_at_once(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    store.ranged = False
    target = tmp_path / "target"
    assert (await vm.download("/f", target, part_size=MIB)).strategy == "get"
    assert target.read_bytes() == DATA
    assert len(ranges(store)) == 1


@pytest.mark.parametrize("ranged", [True, False])
@pytest.mark.parametrize("part_size", [None, MIB])
async def test_what_breaks_off_goes_on_where_it_was(
    store: Store, vm: AsyncVM, tmp_path: Path, ranged: bool, part_size: int | None
) -> None:
    store.ranged = ranged
    cut = 0

    def halves(request: Recorded) -> Reply | None:
        nonlocal cut
        # Where ranges are known, more often than there are attempts: each of them gets on.
        if request.method == "GET" and cut < (6 if ranged else 3):
            cut += 1
            store.disturb = None
            reply = store.answer(request)
            store.disturb = halves
            return Reply(status=reply.status, headers=reply.headers, body=reply.body, drop=Drop.MID_BODY)
        return None

    store.disturb = halves
    target = tmp_path / "target"
    await vm.download("/f", target, part_size=part_size)
    assert target.read_bytes() == DATA
    if ranged and part_size is None:
        starts = [int(str(each).removeprefix("bytes=").split("-")[0]) for each in ranges(store)[1:]]
        assert starts == sorted(starts)
        assert starts[0] > 0


@pytest.mark.parametrize("part_size", [None, MIB])
async def test_a_dead_url_is_renewed(store: Store, vm: AsyncVM, tmp_path: Path, part_size: int | None) -> None:
    dead: set[str] = {"u1", "u2"}
    store.disturb = lambda request: Reply(status=403) if request.path.rpartition("/")[2] in dead else None
    target = tmp_path / "target"
    await vm.download("/f", target, part_size=part_size)
    assert target.read_bytes() == DATA
    assert store.urls == 3
    dead |= {f"u{number}" for number in range(20)}
    with pytest.raises(ForbiddenError):
        await vm.download("/f", target, part_size=part_size)
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize("way", ["file", "object", "stream"])
async def test_a_file_that_changes_is_never_a_mixture(
    store: Store, vm: AsyncVM, tmp_path: Path, tagged: bool, way: str
) -> None:
    """The connection breaks, and when it goes on there is another version of the same size."""
    if not tagged:
        store.tag = lambda data: f'W/"{data[0]}"'

    def change(request: Recorded) -> Reply | None:
        if request.method != "GET":
            return None
        store.disturb = None
        reply = store.answer(request)
        store.files["/f"] = OTHER
        return Reply(status=reply.status, headers=reply.headers, body=reply.body, drop=Drop.MID_BODY)

    store.disturb = change
    target = tmp_path / "target"
    target.write_bytes(b"before")

    async def stream() -> None:
        async with vm.open_read("/f") as opened:
            await opened.read()

    ways = {
        "file": lambda: vm.download("/f", target, part_size=2 * MIB, concurrency=2),
        "object": lambda: vm.download("/f", io.BytesIO()),
        "stream": stream,
    }
    with pytest.raises(FileChangedError, match="/f has changed in the VM") as caught:
        await ways[way]()
    assert caught.value.vm_id == "vm-1"
    assert target.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]


async def test_a_file_of_another_size_than_was_said(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    def grow(request: Recorded) -> None:
        if request.method == "GET":
            store.files["/f"] = DATA + b"more"

    store.disturb = grow
    for part_size in (None, MIB):
        store.files["/f"] = DATA
        with pytest.raises(FileChangedError):
            await vm.download("/f", tmp_path / "target", part_size=part_size)
    assert not list(tmp_path.iterdir())


async def test_a_connection_that_never_gets_on(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    store.disturb = lambda request: (
        Reply(body=b"xy", headers={"Content-Length": str(len(DATA))}, drop=Drop.MID_BODY)
        if request.method == "GET"
        else None
    )
    with pytest.raises(NetworkError) as caught:
        await vm.download("/f", tmp_path / "target")
    assert (caught.value.operation, len(store.requests("GET"))) == ("vm.download", 4)
    assert not list(tmp_path.iterdir())


async def test_what_there_is_not_leaves_nothing(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        await vm.download("/nothing", tmp_path / "target")
    assert not list(tmp_path.iterdir())


# --- targets ---------------------------------------------------------------------------------------------------------


async def test_permissions_and_symlinks(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    old, link, new = tmp_path / "old", tmp_path / "link", tmp_path / "new"
    old.write_bytes(b"old")
    old.chmod(0o751)
    link.symlink_to("elsewhere")
    for target in (old, link, new):
        await vm.download("/small", target)
        assert target.read_bytes() == b"small"
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(old.stat().st_mode) == 0o751
    assert stat.S_IMODE(new.stat().st_mode) == 0o666 & ~mask
    assert not link.is_symlink()
    assert not (tmp_path / "elsewhere").exists()


async def test_targets_that_cannot_be_written(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    for name, number in (
        ("directory", errno.EISDIR),
        ("fifo", errno.EINVAL),
        ("no/directory", errno.ENOENT),
    ):
        with pytest.raises(LocalFileError) as caught:
            await vm.download("/f", tmp_path / name)
        assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / name))
        assert caught.value.operation == "vm.download"
        told = "; give the path that the file itself is to have" if name == "directory" else "(on this machine)"
        assert caught.value.message.endswith(told)
    assert not store.server.requests
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["directory", "fifo"]


async def test_a_disk_that_is_full(store: Store, vm: AsyncVM) -> None:
    with open("/dev/full", "wb") as full, pytest.raises(LocalFileError) as caught:  # noqa: ASYNC230
        await vm.download("/f", full)
    assert caught.value.errno == errno.ENOSPC


async def test_to_file_objects(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    memory = io.BytesIO(b"before ")
    memory.seek(0, os.SEEK_END)
    result = await vm.download("/f", memory)
    assert memory.getvalue() == b"before " + DATA
    assert result.strategy == "get"
    with (tmp_path / "raw").open("wb", buffering=0) as raw:
        assert (await vm.download("/small", raw)).strategy == "inline"
    assert (tmp_path / "raw").read_bytes() == b"small"


@pytest.mark.parametrize("target", [None, 7, io.StringIO(), b"bytes", ""])
async def test_bad_targets(server: ScriptedServer, vm: AsyncVM, target: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await vm.download("/f", target)
    assert caught.value.argument == "target"
    assert not server.requests


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/f", "/small", "/empty"])
async def test_a_stream(store: Store, vm: AsyncVM, path: str) -> None:
    data = store.files[path]
    async with vm.open_read(path) as stream:
        assert (stream.size, stream.position, stream.path) == (len(data), 0, path)
        assert await stream.read(3) == data[:3]
        assert await stream.read(0) == b""
        middle = [chunk async for chunk in stream]
        assert all(middle)
        assert data[:3] + b"".join(middle) == data
        assert stream.position == len(data)
        assert await stream.read() == b""
        with pytest.raises(InvalidArgumentError):
            await stream.read(-2)
    with pytest.raises(ConfigurationError, match="not open"):
        await stream.read()
    with pytest.raises(ConfigurationError, match="not open"):
        _ = [chunk async for chunk in stream]
    with pytest.raises(ConfigurationError, match="not open"):
        await stream.__aenter__()


async def test_a_stream_goes_on_after_failures(store: Store, vm: AsyncVM) -> None:
    kinds: list[Any] = ["cut", Reply(status=503), "cut", Reply(status=403), "cut", Reply(drop=Drop.RESET)]

    def disturb(request: Recorded) -> Reply | None:
        if request.method != "GET" or not kinds:
            return None
        kind = kinds.pop(0)
        if isinstance(kind, Reply):
            return kind
        store.disturb = None
        reply = store.answer(request)
        store.disturb = disturb
        return Reply(status=reply.status, headers=reply.headers, body=reply.body, drop=Drop.MID_BODY)

    store.disturb = disturb
    async with vm.open_read("/f") as stream:
        assert b"".join([chunk async for chunk in stream]) == DATA
    assert not kinds


async def test_a_call_that_fails_amid_a_stream_loses_nothing(store: Store, vm: AsyncVM) -> None:
    cut: list[bool] = []

    def disturb(request: Recorded) -> Reply | None:
        if request.method != "GET":
            return None
        if cut:
            return Reply(status=503)
        cut.append(True)
        store.disturb = None
        reply = store.answer(request)
        store.disturb = disturb
        return Reply(status=reply.status, headers=reply.headers, body=reply.body, drop=Drop.MID_BODY)

    async with vm.open_read("/f") as stream:
        store.disturb = disturb
        with pytest.raises(UnavailableError):
            await stream.read()
        assert stream.position == 0
        store.disturb = None
        assert await stream.read(3) == DATA[:3]
        assert await stream.read() == DATA[3:]
        assert stream.position == len(DATA)


@pytest.fixture
async def debugging() -> AsyncGenerator[None]:
    """Have the loop refuse what another thread may not do to it."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    yield
    loop.set_debug(False)


@pytest.mark.usefixtures("debugging")
@pytest.mark.parametrize("ended", [False, True])
async def test_a_stream_in_another_loop_goes_on_where_it_was(
    store: Store, vm: AsyncVM, ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")  # for the other loops
    stream = vm.open_read("/f")

    async def begun() -> bytes:
        await stream.__aenter__()
        return await stream.read(MIB)

    async def goes_on() -> bytes:
        return await stream.read(MIB)

    first = await (asyncio.to_thread(asyncio.run, begun()) if ended else begun())
    second = await asyncio.to_thread(asyncio.run, goes_on())
    rest = await stream.read()
    assert first + second + rest == DATA
    await asyncio.to_thread(asyncio.run, stream.aclose())
    assert len(ranges(store)) == 3
    with pytest.raises(ConfigurationError, match="not open"):
        await stream.read()


@pytest.mark.usefixtures("debugging")
async def test_a_stream_that_another_loop_closes(store: Store, vm: AsyncVM) -> None:
    async with vm.open_read("/f") as stream:
        await stream.read(MIB)
        await asyncio.to_thread(asyncio.run, stream.aclose())
    async with vm.open_read("/f") as stream:
        assert await stream.read() == DATA


async def test_a_stream_that_is_left_early(store: Store, vm: AsyncVM) -> None:
    async with vm.open_read("/f") as stream:
        async for _ in stream:
            break
    async with vm.open_read("/f"):
        pass
    assert len(store.requests("GET")) == 1


async def test_a_size_before_it_is_known(vm: AsyncVM) -> None:
    with pytest.raises(ConfigurationError):
        _ = vm.open_read("/f").size
    with pytest.raises(InvalidArgumentError):
        vm.open_read("")
