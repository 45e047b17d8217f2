"""What looks like a file object, but cannot be a source or a target: it is refused before anything is sent."""

from __future__ import annotations

import codecs
import io
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from arker import AsyncVM, InvalidArgumentError

pytestmark = pytest.mark.anyio

TEXT: dict[str, Callable[[], Any]] = {
    "temporary": partial(tempfile.NamedTemporaryFile, "w+"),
    "spooled": partial(tempfile.SpooledTemporaryFile, mode="w+"),
    "codecs": lambda: codecs.StreamReaderWriter(io.BytesIO(), *codecs.lookup("utf-8")[2:]),
}


@pytest.mark.parametrize("name", TEXT)
async def test_a_text_file_that_does_not_look_like_one(vm: AsyncVM, name: str) -> None:
    with TEXT[name]() as file:
        file.write("text")
        file.seek(0)
        for refused in (vm.upload(file, "f"), vm.download("f", file)):
            with pytest.raises(InvalidArgumentError, match="binary mode"):
                await refused
        assert (file.tell(), file.read()) == (0, "text")


async def test_a_file_of_the_other_direction(vm: AsyncVM, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    for mode, refused in (("ab", partial(vm.upload, path="f")), ("rb", partial(vm.download, "f"))):
        for buffering in (-1, 0):
            file: Any = (tmp_path / "f").open(mode, buffering=buffering)
            with file, pytest.raises(InvalidArgumentError, match="open for"):
                await refused(file)
            with pytest.raises(InvalidArgumentError, match=r"closed|open for"):
                await refused(file)
    assert (tmp_path / "f").read_bytes() == b"old"


async def test_one_in_memory_that_is_closed(vm: AsyncVM) -> None:
    file = io.BytesIO(b"data")
    file.close()
    for refused in (vm.upload(file, "f"), vm.download("f", file)):
        with pytest.raises(InvalidArgumentError, match="closed"):
            await refused


class Whole:
    """What gives all that it has at once, as the responses of HTTP clients do."""

    def read(self) -> bytes:
        return b"one"


class InPieces(Whole):
    def __iter__(self) -> Iterator[bytes]:
        return iter([b"one", b"two"])


async def test_what_cannot_be_read_by_size(vm: AsyncVM) -> None:
    whole: Any = Whole()
    with pytest.raises(InvalidArgumentError, match="HTTP response"):
        await vm.upload(whole, "f")
    pieces: Any = InPieces()
    await vm.upload(pieces, "f")
    assert await vm.files.read_bytes("f") == b"onetwo"


@pytest.mark.parametrize("strategy", ["inline", "put", "parts", "chunks"])
async def test_text_of_a_file_that_tells_its_size(vm: AsyncVM, strategy: Any) -> None:
    class Seekable:
        """What says nothing of itself."""

        def __init__(self) -> None:
            file = io.StringIO("text")
            self.read, self.seek, self.tell = file.read, file.seek, file.tell

    file: Any = Seekable()
    with pytest.raises(InvalidArgumentError, match="expected bytes from it, got str"):
        await vm.upload(file, "f", strategy=strategy)
