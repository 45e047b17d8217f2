"""The pairs of `upload_many` and `download_many`: places and sources that are there twice."""

from __future__ import annotations

import gzip
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from arker import AsyncVM, InvalidArgumentError
from tests.support.server import ScriptedServer
from tests.transfers.support import Store

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(server: ScriptedServer) -> Store:
    return Store(server)


async def _letters() -> AsyncIterator[bytes]:
    for letter in (b"a", b"b"):
        yield letter


def _in_memory(path: Path) -> Any:
    return io.BytesIO(b"ab")


def _opened(path: Path) -> Any:
    path.write_bytes(b"ab")
    return path.open("rb")


def _compressed(path: Path) -> Any:
    path.write_bytes(gzip.compress(b"ab"))
    return gzip.open(path)


def _iterator(path: Path) -> Any:
    return iter([b"a", b"b"])


def _asynchronous(path: Path) -> Any:
    return _letters()


@pytest.mark.parametrize("make", [_in_memory, _opened, _compressed, _iterator, _asynchronous])
async def test_what_can_be_read_once_is_there_once(
    store: Store, vm: AsyncVM, tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    source = make(tmp_path / "source")
    with pytest.raises(InvalidArgumentError, match="only once") as caught:
        await vm.upload_many([(source, "/1"), (b"other", "/2"), (source, "/3")])
    assert caught.value.argument == "files[2][0]"
    assert store.server.requests == []
    (outcome,) = await vm.upload_many([(source, "/1")])
    assert (outcome.ok, store.files["/1"]) == (True, b"ab")
    if hasattr(source, "close"):
        source.close()


async def test_what_can_be_read_again_may_be_there_several_times(store: Store, vm: AsyncVM, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"file")
    sources: list[Any] = [b"bytes", bytearray(b"array"), str(tmp_path / "file"), tmp_path / "file", [b"li", b"st"]]
    pairs = [(source, f"/{number}-{again}") for number, source in enumerate(sources) for again in range(2)]
    assert all(each.ok for each in await vm.upload_many(pairs))
    assert [store.files[path] for _, path in pairs[::2]] == [store.files[path] for _, path in pairs[1::2]]
    assert set(store.files.values()) == {b"bytes", b"array", b"file", b"list"}


@pytest.mark.parametrize("other", ["./a/b", "a//b", "a/./b", "~/a/b", "a/b/"])
async def test_a_place_in_the_vm_is_there_once(store: Store, vm: AsyncVM, other: str) -> None:
    with pytest.raises(InvalidArgumentError, match="each only once"):
        await vm.upload_many([(b"1", "a/b"), (b"2", other)])
    assert store.server.requests == []
    await vm.upload_many([(b"1", "a/b"), (b"2", "/a/b"), (b"3", "a/c/../b")])


async def test_a_place_on_this_machine_is_there_once(
    store: Store, vm: AsyncVM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store.files |= {"/1": b"1", "/2": b"2"}
    for other in ("./a", tmp_path / "a", f"{tmp_path}//a"):
        with pytest.raises(InvalidArgumentError, match="each only once"):
            await vm.download_many([("/1", "a"), ("/2", other)])
    assert store.server.requests == []
    assert all(each.ok for each in await vm.download_many([("/1", "a"), ("/2", tmp_path / "b")]))
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"1", b"2"]
