"""Many files on the wire: batches, outcomes of each, bounds, retries (contract, section 6)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from arker import (
    ArkerError,
    AsyncVM,
    BadRequestError,
    DeadlineExceededError,
    InvalidArgumentError,
    LocalFileError,
    NotFoundError,
    PayloadTooLargeError,
    TransferProgress,
    UnavailableError,
)
from arker.transfer import UploadSource
from tests.support.server import Recorded, Reply, ScriptedServer, error, ok
from tests.support.waiting import put_forward, until
from tests.transfers.support import Store

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
LARGE = bytes(range(253)) * 24_000  # 6 MB


@pytest.fixture
def store(server: ScriptedServer) -> Store:
    return Store(server)


def sizes(store: Store) -> list[int]:
    """How many entries each write had."""
    return [len(request.json["writes"]) for request in store.requests("POST")]


async def test_small_files_go_in_few_requests(store: Store, vm: AsyncVM) -> None:
    files = {f"/{number}": os.urandom(number % 7) for number in range(1200)}
    outcomes = await vm.upload_many([(data, path) for path, data in files.items()])
    assert store.files == files
    assert sorted(sizes(store)) == [200, 500, 500]
    assert [(each.path, each.size, each.ok, each.local) for each in outcomes] == [
        (path, len(data), True, None) for path, data in files.items()
    ]


async def test_content_is_bounded_too(store: Store, vm: AsyncVM) -> None:
    outcomes = await vm.upload_many([(bytes(3 * MIB), f"/{number}") for number in range(5)])
    assert all(each.ok for each in outcomes)
    assert sorted(sizes(store)) == [1, 2, 2]


async def test_all_kinds_together(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    small, large, gone = tmp_path / "small", tmp_path / "large", tmp_path / "gone"
    small.write_bytes(b"small")
    large.write_bytes(LARGE)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"pie"
        yield b"ces"

    seen: list[TransferProgress] = []
    files: list[tuple[UploadSource, str]] = [
        (large, "/large"),
        (small, "/small"),
        (gone, "/gone"),
        (b"memory", "/memory"),
        (tmp_path, "/directory"),
        (pieces(), "/pieces"),
    ]
    outcomes = await vm.upload_many(files, progress=seen.append)
    assert store.files == {"/large": LARGE, "/small": b"small", "/memory": b"memory", "/pieces": b"pieces"}
    assert [each.path for each in outcomes] == ["/large", "/small", "/gone", "/memory", "/directory", "/pieces"]
    assert [each.ok for each in outcomes] == [True, True, False, True, False, True]
    assert [each.local for each in outcomes][:4] == [str(large), str(small), str(gone), None]
    for number in (2, 4):
        failure = outcomes[number].error
        assert isinstance(failure, LocalFileError)
        assert (failure.operation, failure.vm_id) == ("vm.upload_many", "vm-1")
    last = seen[-1]
    assert (last.files_done, last.files_total, last.files_failed) == (6, 6, 2)
    assert last.done == len(LARGE) + len(b"smallmemorypieces")


async def test_one_that_is_refused_loses_no_other(store: Store, vm: AsyncVM) -> None:
    before = store.answer

    def refuse(request: Recorded) -> Reply:
        results: list[Any] = []
        for entry in request.json["writes"]:
            if entry["path"] == "/7":
                results.append({"path": "/7", "error": {"code": "bad_request", "message": "it is a directory"}})
            else:
                store.files[entry["path"]] = b"x"
                results.append({"path": entry["path"], "complete": True, "written": True})
        return ok({"results": results})

    store.server.answer(refuse)
    assert before is not None
    outcomes = await vm.upload_many([(b"x", f"/{number}") for number in range(20)])
    assert [each.path for each in outcomes if not each.ok] == ["/7"]
    failure = outcomes[7].error
    assert isinstance(failure, BadRequestError)
    assert (failure.operation, failure.vm_id, failure.message) == ("vm.upload_many", "vm-1", "it is a directory")
    assert len(store.server.requests) == 1
    assert len(store.files) == 19


async def test_entries_that_may_succeed_later_are_sent_again_alone(store: Store, vm: AsyncVM) -> None:
    asked: list[list[str]] = []

    def busy(request: Recorded) -> Reply:
        asked.append([entry["path"] for entry in request.json["writes"]])
        passing = {"error": {"code": "unavailable", "message": "later"}}
        done = {"complete": True, "written": True}
        late = {"/3": 1, "/5": 2, "/9": 99}
        return ok({"results": [passing if late.get(path, 0) >= len(asked) else done for path in asked[-1]]})

    store.server.answer(busy)
    outcomes = await vm.upload_many([(b"x", f"/{number}") for number in range(10)])
    assert asked[1:] == [["/3", "/5", "/9"], ["/5", "/9"], ["/9"]]
    assert [each.path for each in outcomes if not each.ok] == ["/9"]
    assert isinstance(outcomes[9].error, UnavailableError)


async def test_a_request_that_fails_is_tried_again_and_fails_its_files(store: Store, vm: AsyncVM) -> None:
    failures = [Reply(status=503), Reply(status=503)]
    store.disturb = lambda _: failures.pop() if failures else None
    assert all(each.ok for each in await vm.upload_many([(b"x", "/a"), (b"y", "/b")]))
    store.disturb = lambda _: error("unavailable", status=503)
    outcomes = await vm.upload_many([(b"x", "/a"), (b"y", "/b")])
    assert [type(each.error) for each in outcomes] == [UnavailableError, UnavailableError]


async def test_batches_are_halved_when_they_are_too_large(store: Store, vm: AsyncVM) -> None:
    def refuse(request: Recorded) -> Reply | None:
        entries = request.json["writes"]
        return error("payload_too_large", status=413) if sum(each["size"] for each in entries) > 100 else None

    store.disturb = refuse
    outcomes = await vm.upload_many([(bytes(10), f"/{number}") for number in range(40)] + [(bytes(101), "/large")])
    assert [each.path for each in outcomes if not each.ok] == ["/large"]
    assert isinstance(outcomes[-1].error, PayloadTooLargeError)
    assert len(store.files) == 40


async def test_one_bound_for_all(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    await vm.upload_many([(LARGE, f"/{number}") for number in range(6)] + [(b"x", "/x")], concurrency=2)
    assert store.server.peak <= 2
    assert len(store.files) == 7
    pairs = [(f"/{number}", tmp_path / str(number)) for number in range(6)]
    await vm.download_many(pairs, concurrency=2, part_size=MIB)
    assert store.server.peak <= 2
    assert all((tmp_path / str(number)).read_bytes() == LARGE for number in range(6))


async def test_downloads(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    store.files = {f"/{number}": os.urandom(number) for number in range(50)} | {"/large": LARGE}
    seen: list[TransferProgress] = []
    pairs = [(path, tmp_path / path[1:]) for path in [*store.files, "/missing"]]
    pairs.append(("/1", tmp_path / "no" / "directory"))
    outcomes = await vm.download_many(pairs, progress=seen.append)
    assert [each.path for each in outcomes] == [path for path, _ in pairs]
    assert [each.ok for each in outcomes] == [True] * 51 + [False] * 2
    assert isinstance(outcomes[-2].error, NotFoundError)
    assert isinstance(outcomes[-1].error, LocalFileError)
    assert outcomes[-1].local == str(tmp_path / "no" / "directory")
    for path, data in store.files.items():
        assert (tmp_path / path[1:]).read_bytes() == data
    assert len(list(tmp_path.iterdir())) == 51
    last = seen[-1]
    assert (last.files_done, last.files_failed) == (53, 2)
    assert last.done == sum(map(len, store.files.values()))


async def test_a_deadline_tells_of_what_was_not_done(
    store: Store, vm: AsyncVM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = asyncio.all_tasks()
    store.files["/quick"] = b"quick"

    def late(request: Recorded) -> Reply | None:
        reading = request.method == "POST" and request.json.get("path") == "/late"
        return Reply(delay=600) if reading or request.method == "PUT" else None

    store.disturb = late
    done = set[str]()

    def tell(progress: TransferProgress) -> None:
        if progress.files_done == 1:
            done.add(progress.operation)

    ways = asyncio.gather(
        vm.upload_many([(b"quick", "/quick"), (LARGE, "/late")], deadline=50, progress=tell),
        vm.download_many([(f"/{name}", tmp_path / name) for name in ("quick", "late")], deadline=50, progress=tell),
    )
    await until(lambda: len(done) == 2)
    await put_forward(monkeypatch, 50)
    for outcomes in await ways:
        assert [each.path for each in outcomes if not each.ok] == ["/late"]
        failure = outcomes[-1].error
        assert isinstance(failure, DeadlineExceededError)
        assert failure.operation in ("vm.upload_many", "vm.download_many")
    await until(lambda: asyncio.all_tasks() == before)
    assert [entry.name for entry in tmp_path.iterdir()] == ["quick"]


async def test_nothing_at_all(server: ScriptedServer, vm: AsyncVM) -> None:
    assert await vm.upload_many([]) == []
    assert await vm.download_many([]) == []
    assert not server.requests


@pytest.mark.parametrize(
    "files",
    [None, 7, "ab", [b"x"], [(b"x",)], [(b"x", "/a", 1)], [(b"x", "")], [(b"x", "/a"), (b"y", "/a")], [("a", "b\0")]],
)
async def test_bad_files(server: ScriptedServer, vm: AsyncVM, files: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await vm.upload_many(files)
    assert caught.value.argument.startswith("files")
    assert not server.requests


@pytest.mark.parametrize(
    "files",
    [None, 7, "ab", ["/a"], [("/a",)], [("/a", "b", 1)], [("", "b")], [("/a", "b"), ("/c", "b")], [("/a", "b\0")]],
)
async def test_bad_files_to_download(server: ScriptedServer, vm: AsyncVM, files: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await vm.download_many(files)
    assert caught.value.argument.startswith("files")
    assert not server.requests


@pytest.mark.parametrize(
    ("first", "result", "outcome"),
    [
        (None, {"error": {"code": "bad_request", "message": "m"}}, "not_started"),
        (None, {"error": {"code": "internal", "message": "m"}}, "unknown"),
        (None, {"complete": True, "written": {"a": 1}}, "unknown"),
        (None, {"complete": True, "written": False}, "unknown"),
        (Reply(status=502), {"error": {"code": "bad_request", "message": "m"}}, "unknown"),
    ],
)
async def test_only_what_proves_it_says_that_a_file_was_not_written(
    server: ScriptedServer, vm: AsyncVM, first: Reply | None, result: dict[str, Any], outcome: str
) -> None:
    good: dict[str, Any] = {"path": "/a", "size": 1, "received_bytes": 1, "complete": True, "written": True}
    server.script(
        *([first] if first is not None else []),
        ok({"results": [{**good, "ranges": ()}, {**good, "ranges": (), "path": "/b", **result}]}),
    )
    written, refused = await vm.upload_many([(b"x", "/a"), (b"y", "/b")])
    assert written.ok
    assert isinstance(refused.error, ArkerError)
    assert refused.error.outcome == outcome
