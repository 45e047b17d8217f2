"""Ways into a VM on the wire: which one is taken, what each sends, and what is done when it fails (section 6)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arker import (
    CHUNK_SIZE,
    AsyncArker,
    AsyncVM,
    BadRequestError,
    DeadlineExceededError,
    ForbiddenError,
    InternalError,
    PayloadTooLargeError,
    UnavailableError,
    UnsupportedOperationError,
)
from tests.support.server import Recorded, Reply, ScriptedServer, error, ok
from tests.support.waiting import until
from tests.transfers.support import SYNC, Store

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
DATA = bytes(range(253)) * 24_000  # 6 MB


@pytest.fixture
def store(server: ScriptedServer) -> Store:
    return Store(server)


def entries(request: Recorded) -> list[dict[str, Any]]:
    writes: list[dict[str, Any]] = request.json["writes"]
    return writes


async def test_a_small_file_is_one_request(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"hi")
    result = await vm.upload(file, "/f")
    assert (result.strategy, result.size, result.sha256) == ("inline", 2, hashlib.sha256(b"hi").hexdigest())
    assert len(store.server.requests) == 1
    assert store.server.last.target == SYNC
    (entry,) = entries(store.server.last)
    assert len(entry.pop("upload_id")) == 26
    assert entry == {"path": "/f", "size": 2, "content": "aGk=", "start": 0, "end": 2, "sha256": result.sha256}


async def test_a_larger_file_is_one_put(store: Store, vm: AsyncVM) -> None:
    result = await vm.upload(DATA, "/f")
    assert (result.strategy, result.sha256) == ("put", hashlib.sha256(DATA).hexdigest())
    ask, put, commit = store.server.requests
    assert entries(ask) == [{"path": "/f", "size": len(DATA), "presigned": True}]
    assert (put.headers["Content-Length"], "Authorization" in put.headers) == (str(len(DATA)), False)
    assert entries(commit) == [{"path": "/f", "size": len(DATA), "upload_id": "u1", "sha256": result.sha256}]


# --- chunks ----------------------------------------------------------------------------------------------------------


async def test_chunks_where_presigned_requests_are_not_supported(store: Store, client: AsyncArker, vm: AsyncVM) -> None:
    store.presigned = False
    assert (await vm.upload(DATA, "/f")).strategy == "chunks"
    assert store.files["/f"] == DATA
    asked, first, *rest = store.server.requests
    assert "presigned" in entries(asked)[0]
    assert entries(first)[0]["start"] == 0
    sent = [entries(request)[0] for request in (first, *rest)]
    assert len({entry["upload_id"] for entry in sent}) == 1
    assert {entry["sha256"] for entry in sent} == {hashlib.sha256(DATA).hexdigest()}
    assert sorted((entry["start"], entry["end"]) for entry in sent)[-1][1] == len(DATA)
    # It is remembered for the whole client.
    store.server.requests.clear()
    assert (await client.vm("vm-2").upload(DATA, "/f")).strategy == "chunks"
    assert "content" in entries(store.server.requests[0])[0]


async def test_who_asks_for_a_way_gets_no_other(store: Store, vm: AsyncVM) -> None:
    store.presigned = False
    for strategy in ("put", "parts"):
        with pytest.raises(UnsupportedOperationError):
            await vm.upload(DATA, "/f", strategy=strategy)
    assert len(store.server.requests) == 2


async def test_the_first_chunk_is_answered_before_the_others_go(store: Store, vm: AsyncVM) -> None:
    together = 0
    before = store.answer

    async def late(request: Recorded) -> Reply:
        nonlocal together
        if entries(request)[0]["start"] == 0:
            await asyncio.sleep(0.05)
            together = len(store.server.requests)
        return before(request)

    store.server.answer(late)
    await vm.upload(DATA, "/f", strategy="chunks", concurrency=4)
    assert together == 1
    assert store.files["/f"] == DATA
    assert store.server.peak <= 4


async def test_chunks_that_the_server_has_lost_are_sent_again(store: Store, vm: AsyncVM) -> None:
    lost: list[int] = []

    def lose(request: Recorded) -> None:
        # The ledger of an upload forgets two chunks, once, when most of it is there.
        for held in store.chunks.values():
            if len(held) == 5 and not lost:
                lost.extend([held.popitem()[0], held.popitem()[0]])

    store.disturb = lose
    await vm.upload(DATA, "/f", strategy="chunks", concurrency=1)
    assert len(lost) == 2
    assert store.files["/f"] == DATA
    starts = [entries(request)[0]["start"] for request in store.server.requests]
    assert sorted(set(starts)) == [number * MIB for number in range(6)]
    assert len(starts) == 6 + 1 + 2  # all, a question, what was lost


async def test_a_ledger_that_is_never_complete_is_an_error(store: Store, vm: AsyncVM) -> None:
    held = {"path": "/f", "size": len(DATA), "received_bytes": MIB, "complete": False, "written": False}
    store.disturb = lambda _: ok({"results": [{**held, "ranges": [{"start": 0, "end": MIB}]}]})
    with pytest.raises(InternalError, match="holds 1048576 of its"):
        await vm.upload(DATA, "/f", strategy="chunks")


async def test_chunks_are_halved_when_they_are_too_large(store: Store, vm: AsyncVM) -> None:
    def refuse(request: Recorded) -> Reply | None:
        large = any(entry["end"] - entry["start"] > 300_000 for entry in entries(request))
        return error("payload_too_large", status=413) if large else None

    store.disturb = refuse
    await vm.upload(DATA, "/f", strategy="chunks", concurrency=2)
    assert store.files["/f"] == DATA
    store.disturb = lambda _: error("payload_too_large", status=413)
    with pytest.raises(PayloadTooLargeError):
        await vm.upload(DATA, "/g", strategy="chunks")


async def test_chunks_are_tried_again_alone(store: Store, vm: AsyncVM) -> None:
    failures = [Reply(status=503), Reply(status=503)]
    store.disturb = lambda request: failures.pop() if entries(request)[0]["start"] == 2 * MIB and failures else None
    await vm.upload(DATA, "/f", strategy="chunks")
    assert store.files["/f"] == DATA
    assert len(store.server.requests) == 6 + 2


# --- failures --------------------------------------------------------------------------------------------------------


async def test_a_url_that_is_always_dead(store: Store, vm: AsyncVM) -> None:
    store.disturb = lambda request: Reply(status=403) if request.method == "PUT" else None
    with pytest.raises(ForbiddenError):
        await vm.upload(DATA, "/f", strategy="put")
    assert store.urls == 3


async def test_an_error_says_what_is_known(store: Store, vm: AsyncVM) -> None:
    store.disturb = lambda request: Reply(status=503) if request.method == "PUT" else None
    with pytest.raises(UnavailableError) as caught:
        await vm.upload(DATA, "/f")
    assert (caught.value.operation, caught.value.vm_id) == ("vm.upload", "vm-1")
    assert (caught.value.outcome, caught.value.attempts) == ("not_started", 5)
    store.disturb = lambda request: error("bad_request", status=400)
    with pytest.raises(BadRequestError) as refused:
        await vm.upload(b"x", "/f")
    assert (refused.value.operation, refused.value.outcome, refused.value.attempts) == ("vm.upload", "not_started", 1)


async def test_a_deadline_ends_everything(store: Store, vm: AsyncVM) -> None:
    before = asyncio.all_tasks()
    stalled: Callable[[Recorded], Reply | None] = lambda _: Reply(delay=600)  # noqa: E731
    store.disturb = lambda request: stalled(request) if request.method == "PUT" else None
    with pytest.raises(DeadlineExceededError) as caught:
        await vm.upload(bytes(CHUNK_SIZE + 1), "/f", deadline=0.3)
    assert (caught.value.operation, caught.value.outcome) == ("vm.upload", "not_started")
    await until(lambda: asyncio.all_tasks() == before)  # a piece may still be read, in a thread
