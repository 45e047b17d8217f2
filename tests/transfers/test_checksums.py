"""Uploads without a digest: nothing is computed or sent, on each of the ways, and the bytes arrive all the same."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arker import AsyncVM, InvalidArgumentError
from arker.transfer import UploadWay
from tests.support.server import Recorded, ScriptedServer
from tests.transfers.support import SYNC, Store

pytestmark = pytest.mark.anyio

DATA = bytes(range(251)) * 24_000  # 6 MB


@pytest.fixture
def store(server: ScriptedServer) -> Store:
    return Store(server)


@pytest.fixture
def no_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Any:
        raise AssertionError("a digest is computed")

    # Only the client's: the server in the same process makes some.
    monkeypatch.setattr("arker._files.bodies.hashlib", SimpleNamespace(sha256=refuse))
    monkeypatch.setattr("arker._files.hashing.hashlib", SimpleNamespace(sha256=refuse))
    monkeypatch.setattr("arker._files.many.sha256", refuse)


def writes(requests: list[Recorded]) -> list[dict[str, Any]]:
    return [entry for request in requests if request.target == SYNC for entry in request.json["writes"]]


@pytest.mark.parametrize(("way", "size"), [("inline", 5000), ("put", len(DATA)), ("chunks", len(DATA))])
@pytest.mark.parametrize("of_file", [False, True])
@pytest.mark.usefixtures("no_digests")
async def test_no_digest_is_computed_or_sent(
    store: Store, vm: AsyncVM, way: UploadWay, size: int, *, of_file: bool, tmp_path: Path
) -> None:
    data = DATA[:size]
    (tmp_path / "file").write_bytes(data)
    result = await vm.upload(tmp_path / "file" if of_file else data, "/f", strategy=way, checksum=False)
    assert (result.strategy, result.size, result.sha256) == (way, size, None)
    assert store.files["/f"] == data
    sent = writes(store.server.requests)
    assert sent
    assert not any("sha256" in entry for entry in sent)


async def test_the_digest_of_a_file_beyond_a_quarter_mebibyte_is_right(store: Store, vm: AsyncVM) -> None:
    # It is computed in a thread.
    data = DATA[: 1024 * 1024]
    assert (await vm.upload(data, "/f")).sha256 == hashlib.sha256(data).hexdigest()
    assert writes(store.server.requests)[0]["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.usefixtures("no_digests")
async def test_sync_and_many_files(store: Store, vm: AsyncVM) -> None:
    await vm.sync("/small", b"hi", checksum=False)
    await vm.sync("/large", DATA, checksum=False)
    outcomes = await vm.upload_many([(b"a", "/a"), (b"b" * 3000, "/b"), (DATA, "/c")], checksum=False)
    assert [outcome.error for outcome in outcomes] == [None, None, None]
    assert store.files == {"/small": b"hi", "/large": DATA, "/a": b"a", "/b": b"b" * 3000, "/c": DATA}
    assert not any("sha256" in entry for entry in writes(store.server.requests))


@pytest.mark.parametrize("wrong", ["no", 0, None])
async def test_other_values_are_refused_before_anything_is_sent(store: Store, vm: AsyncVM, wrong: Any) -> None:
    for call in (
        vm.upload(b"x", "/f", checksum=wrong),
        vm.sync("/f", b"x", checksum=wrong),
        vm.upload_many([(b"x", "/f")], checksum=wrong),
        vm.upload_dir("/nowhere", "/d", checksum=wrong),
    ):
        with pytest.raises(InvalidArgumentError, match="checksum"):
            await call
    assert store.server.requests == []


async def test_it_contradicts_the_check_of_the_whole_digest(store: Store, vm: AsyncVM) -> None:
    for call in (
        vm.upload(b"x", "/f", checksum=False, verify="full"),
        vm.upload_many([(b"x", "/f")], checksum=False, verify="full"),
    ):
        with pytest.raises(InvalidArgumentError, match="verify='full'"):
            await call
    assert store.server.requests == []
