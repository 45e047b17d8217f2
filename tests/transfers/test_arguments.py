"""Which arguments of a transfer have an effect, by its way: the others are documented as without one."""

from __future__ import annotations

import inspect
import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from arker import AsyncVM
from arker.transfer import UploadWay
from tests.support.server import ScriptedServer
from tests.transfers.support import Store

pytestmark = pytest.mark.anyio

DATA = bytes(5 * 1024 * 1024)
PART = 1024 * 1024
SMALL = DATA[:PART]


@pytest.fixture
def store(server: ScriptedServer) -> Store:
    return Store(server)


def asked(store: Store) -> Counter[str]:
    """Return how many requests there were since the last call, by method."""
    requests = Counter(request.method for request in store.server.requests)
    store.server.requests.clear()
    return requests


@pytest.mark.parametrize(("way", "changes"), [("inline", False), ("put", False), ("chunks", True)])
@pytest.mark.parametrize("arguments", [{"part_size": 128 * 1024}, {"part_size": 128 * 1024, "concurrency": 1}])
async def test_the_size_of_parts_is_about_files_in_parts(
    store: Store, vm: AsyncVM, way: UploadWay, changes: bool, arguments: dict[str, Any]
) -> None:
    await vm.upload(SMALL, "/f", strategy=way)
    before = asked(store)
    await vm.upload(SMALL, "/f", strategy=way, **arguments)
    assert (asked(store) != before) is changes
    assert store.files["/f"] == SMALL


@pytest.mark.parametrize("way", ["inline", "put", "chunks"])
async def test_every_way_has_the_digest_of_the_whole_file_checked(store: Store, vm: AsyncVM, way: UploadWay) -> None:
    results = [await vm.upload(SMALL, "/f", strategy=way, verify=verify) for verify in ("size", "full")]
    assert len({result.sha256 for result in results}) == 1
    assert results[0].sha256 is not None


async def test_a_file_object_gets_the_bytes_of_one_request(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    store.files["/f"] = DATA
    target = io.BytesIO()
    await vm.download("/f", target, part_size=PART, concurrency=4)
    assert (target.getvalue() == DATA, asked(store)["GET"]) == (True, 1)
    await vm.download("/f", tmp_path / "f", part_size=PART, concurrency=4)
    assert ((tmp_path / "f").read_bytes() == DATA, asked(store)["GET"]) == (True, 5)


@pytest.mark.parametrize("method", ["upload", "download", "upload_many", "download_many", "upload_dir", "download_dir"])
def test_every_argument_is_documented(method: str) -> None:
    function = getattr(AsyncVM, method)
    told = inspect.getdoc(function) or ""
    for name in list(inspect.signature(function).parameters)[1:]:
        assert f"    {name}: " in told, name
