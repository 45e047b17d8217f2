"""Digests of bytes in memory, which a thread computes while they are sent: what is sent, and what ends the thread."""

from __future__ import annotations

import array
import asyncio
import gc
import hashlib
import mmap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import pytest

from arker import CHUNK_SIZE, AsyncArker, AsyncVM, ForbiddenError, HttpTimeouts, TransferProgress
from arker._files.hashing import Hashing
from arker._files.sources import Buffer
from arker._protocol.address import Address
from arker._protocol.calls import files as file_calls
from arker.models import SyncChunkWrite
from arker.transfer import UploadWay
from tests.support.clients import COMPUTE
from tests.support.secrets import API_KEY
from tests.support.server import Drop, Recorded, Reply, ScriptedServer, error
from tests.support.waiting import PATIENCE, block_until, put_forward, some_turns, until
from tests.transfers.support import SYNC, Store

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
DATA = bytes(range(241)) * 73_000  # 17 MB


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # What an earlier test has left unfinished, in a loop that was closed, does not count.
    monkeypatch.setattr("arker._files.hashing._unfinished", WeakSet[Hashing]())


@pytest.fixture
def store(server: ScriptedServer) -> Store:
    return Store(server)


def digest_of(data: bytes | bytearray) -> str:
    return hashlib.sha256(data).hexdigest()


class Held:
    """SHA-256 in the client that goes on only when it is let go. An inline write always finds that it has begun.

    Attributes:
        begun: Digests that a thread has begun with.
        free: Whether they may be computed.
        fails: Raised in the thread, if set.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.free = threading.Event()
        self.fails: Exception | None = None
        monkeypatch.setattr("arker._files.hashing.hashlib", SimpleNamespace(sha256=self._sha256))
        monkeypatch.setattr("arker._files.single.Hashing", self._begin)

    def _begin(self, data: Buffer) -> Hashing:
        # Otherwise a write that is quicker than the thread waits for the digest before it sends anything.
        hashing = Hashing(data)
        block_until(lambda: hashing.begun)
        return hashing

    def _sha256(self) -> Any:
        self.begun += 1
        assert self.free.wait(PATIENCE)
        if self.fails is not None:
            raise self.fails
        return hashlib.sha256()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


def writes(store: Store) -> list[dict[str, Any]]:
    return [entry for request in store.server.requests if request.target == SYNC for entry in request.json["writes"]]


# --- what is sent ----------------------------------------------------------------------------------------------------


def _mapped(data: bytes, path: Path) -> mmap.mmap:
    (path / "mapped").write_bytes(data)
    with (path / "mapped").open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


KINDS: dict[str, Callable[[bytes, Path], Any]] = {
    "bytes": lambda data, _: data,
    "bytearray": lambda data, _: bytearray(data),
    "memoryview": lambda data, _: memoryview(data),
    "array": lambda data, _: array.array("B", data),
    "mmap": _mapped,
}


@pytest.mark.parametrize(
    ("way", "size"),
    [
        # Base64 of 786432 bytes is a MiB, the size of a slice.
        *[("inline", size) for size in (256 * 1024, 256 * 1024 + 1, 786_431, 786_432, 786_433, CHUNK_SIZE)],
        *[("put", size) for size in (0, 1, MIB - 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 16 * MIB + 3)],
    ],
)
async def test_the_bytes_and_their_digest(store: Store, vm: AsyncVM, way: UploadWay, size: int) -> None:
    data = DATA[:size]
    assert (await vm.upload(data, "/f", strategy=way)).sha256 == digest_of(data)
    assert store.files["/f"] == data
    assert writes(store)[-1]["sha256"] == digest_of(data)


@pytest.mark.parametrize("way", ["inline", "put"])
@pytest.mark.parametrize("kind", KINDS)
async def test_buffers(store: Store, vm: AsyncVM, way: UploadWay, kind: str, tmp_path: Path) -> None:
    data = DATA[:700_001]
    source = KINDS[kind](data, tmp_path)
    assert (await vm.upload(source, "/f", strategy=way)).sha256 == digest_of(data)
    assert store.files["/f"] == data
    if kind == "mmap":
        source.close()  # nothing holds it any more


async def test_a_file_whose_bytes_go_inline(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA[:MIB])
    assert (await vm.upload(tmp_path / "file", "/f", strategy="inline")).sha256 == digest_of(DATA[:MIB])
    assert store.files["/f"] == DATA[:MIB]


async def test_the_members_come_in_the_same_order_with_a_digest_that_comes_late(store: Store, vm: AsyncVM) -> None:
    for size in (5, MIB):
        await vm.sync('/"content":""', DATA[:size])
    small, large = store.server.requests
    assert [*small.json["writes"][0]] == [*large.json["writes"][0]]
    assert large.headers["Content-Length"] == str(len(large.body))
    assert "Transfer-Encoding" not in large.headers


@pytest.mark.parametrize("way", ["inline", "put"])
async def test_what_is_sent_again_is_the_same(store: Store, vm: AsyncVM, held: Held, way: UploadWay) -> None:
    held.free.set()
    failures = [Reply(drop=Drop.RESET), Reply(status=503), Reply(drop=Drop.AFTER_PROCESSING)]

    def disturb(request: Recorded) -> Reply | None:
        is_body = request.method == "PUT" or "content" in request.json["writes"][0]
        return failures.pop(0) if failures and is_body else None

    store.disturb = disturb
    done: list[TransferProgress] = []
    data = DATA[: 2 * MIB]
    result = await vm.upload(data, "/f", strategy=way, progress=done.append)
    assert (result.sha256, store.files["/f"], failures) == (digest_of(data), data, [])
    assert done[-1].done == len(data)
    assert held.begun == 1
    bodies = [request.body for request in store.server.requests if len(request.body) > MIB]
    assert len(bodies) == 4
    assert len(set(bodies)) == 1


# --- when ------------------------------------------------------------------------------------------------------------


async def test_an_inline_write_waits_for_its_digest_with_its_last_bytes_only(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server reads until it has all but the last member; only then is the digest computed.
    got = bytearray()
    answer = b'{"ok":true,"op":"write","results":[{"path":"/f","size":%d,"complete":true,"written":true}]}' % MIB

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        while len(got) < length and (piece := await reader.read(MIB)):
            got.extend(piece)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    data = DATA[:MIB]
    try:
        async with AsyncArker(API_KEY, base_url=url, retry=False) as client:
            task = asyncio.ensure_future(client.vm("vm-1").sync("/f", data))
            await until(lambda: len(got) > MIB * 4 / 3)
            await some_turns()
            assert b"sha256" not in got
            # A slow digest is no silent connection.
            await put_forward(monkeypatch, HttpTimeouts().idle or 0.0)
            assert not task.done()
            held.free.set()
            await task
    finally:
        held.free.set()
        server.close()
        await server.wait_closed()
    assert b'","start":0,"end":1048576,"sha256":"%b"}]' % digest_of(data).encode() in got[-200:]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Return the digests that are known when inline writes are made into requests, as far as they are."""
    digests: list[str | None] = []
    write_whole = file_calls.write_whole

    def note(at: Address, entry: SyncChunkWrite, *rest: Any) -> Any:
        digests.append(entry.sha256)
        return write_whole(at, entry, *rest)

    monkeypatch.setattr(file_calls, "write_whole", note)
    return digests


@pytest.mark.parametrize(("size", "late"), [(256 * 1024 + 1, False), (786_432, False), (786_433, True)])
async def test_what_is_sent_as_a_whole_waits_for_its_digest(
    store: Store, vm: AsyncVM, known: list[str | None], size: int, late: bool
) -> None:
    # One more piece would take the loop longer than the thread saves.
    for _ in range(2):
        await vm.sync("/f", DATA[:size])
    assert known == [None if late else digest_of(DATA[:size])] * 2
    assert [entry["sha256"] for entry in writes(store)] == [digest_of(DATA[:size])] * 2


async def test_of_writes_at_once_only_the_first_is_encoded_before_its_digest_is_known(
    store: Store, vm: AsyncVM, known: list[str | None]
) -> None:
    data = [DATA[number : number + MIB] for number in range(5)]
    await asyncio.gather(*(vm.sync(f"/{number}", each) for number, each in enumerate(data)))
    assert known[0] is None
    assert {*known[1:]} == {digest_of(each) for each in data[1:]}
    assert [store.files[f"/{number}"] for number in range(5)] == data


async def test_the_digest_of_an_upload_is_begun_before_its_url_is_asked_for(
    store: Store, vm: AsyncVM, held: Held
) -> None:
    def disturb(request: Recorded) -> None:
        if request.method == "POST" and request.json["writes"][0].get("presigned"):
            block_until(lambda: held.begun)
        held.free.set()

    store.disturb = disturb
    assert (await vm.upload(DATA, "/f", strategy="put")).sha256 == digest_of(DATA)
    assert held.begun == 1


async def test_no_request_is_on_its_way_while_no_thread_is_free(store: Store, vm: AsyncVM) -> None:
    await vm.sync("/f", b"the client's own imports may need threads")
    store.server.requests.clear()
    free = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(pool)
        busy = loop.run_in_executor(None, free.wait, PATIENCE)
        try:
            task = asyncio.ensure_future(vm.sync("/f", DATA[:MIB]))
            await some_turns()
            assert (store.server.requests, store.server.connections) == ([], 1)
            cancelled = asyncio.ensure_future(vm.sync("/g", DATA[:MIB]))
            await some_turns()
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled  # it does not wait for a thread
        finally:
            free.set()
        assert await busy
        await task
        loop.set_default_executor(ThreadPoolExecutor())
    assert store.files["/f"] == DATA[:MIB]
    assert "/g" not in store.files


# --- ends ------------------------------------------------------------------------------------------------------------


def _resized(data: bytearray) -> bool:
    """Return whether nothing reads the data any more, so that its size may be changed."""
    gc.collect()  # the error's traceback is in a cycle, in some versions of Python
    try:
        data.append(0)
    except BufferError:
        return False
    return True


@pytest.mark.parametrize("way", ["inline", "put"])
async def test_a_cancelled_caller_gets_its_buffer_back(store: Store, vm: AsyncVM, held: Held, way: UploadWay) -> None:
    data = bytearray(DATA[:MIB])
    task: asyncio.Task[Any] = asyncio.ensure_future(vm.upload(data, "/f", strategy=way))
    await until(lambda: held.begun)
    task.cancel()
    await some_turns()
    assert not task.done()  # the thread still reads it
    held.free.set()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    del task
    await until(lambda: _resized(data))  # what the connection still holds of it goes with the connection
    assert "/f" not in store.files


async def test_a_request_that_goes_on_without_its_caller_sends_no_other_digest(
    store: Store, vm: AsyncVM, held: Held
) -> None:
    # With a mode, a file is written beside its place first, by a request that a cancelled caller leaves to itself.
    task = asyncio.ensure_future(vm.upload(DATA[:MIB], "/f", strategy="inline", mode=0o600))
    await until(lambda: store.server.peak)  # its head is there
    task.cancel()
    await some_turns()
    assert not task.done()  # the thread still reads the bytes
    held.free.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [entry for entry in writes(store) if "content" in entry] == []


async def test_a_refused_url_ends_the_digest(store: Store, vm: AsyncVM, held: Held) -> None:
    data = bytearray(DATA)

    def refuse(request: Recorded) -> Reply:
        if request.target == SYNC:
            block_until(lambda: held.begun)
        return error("forbidden", status=403)

    store.disturb = refuse
    task = asyncio.ensure_future(vm.upload(data, "/f", strategy="put"))
    await until(lambda: held.begun and store.server.requests)
    held.free.set()
    with suppress(ForbiddenError):
        await task
    assert isinstance(task.exception(), ForbiddenError)


@pytest.mark.parametrize("way", ["inline", "put"])
async def test_what_fails_in_the_thread_is_raised(store: Store, vm: AsyncVM, held: Held, way: UploadWay) -> None:
    held.fails = MemoryError("no memory for a digest")
    held.free.set()
    with pytest.raises(MemoryError, match="no memory for a digest"):
        await vm.upload(DATA[:MIB], "/f", strategy=way)
    assert "/f" not in store.files
    # The client is none the worse for it.
    held.fails = None
    await vm.upload(DATA[:MIB], "/f", strategy=way)
    assert store.files["/f"] == DATA[:MIB]
    assert COMPUTE in store.server.last.target
