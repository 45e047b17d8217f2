"""File objects of many libraries, and of callers' own, as sources and targets."""

from __future__ import annotations

import asyncio
import bz2
import codecs
import gzip
import io
import lzma
import os
import tempfile
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import IO, Any

import anyio
import pytest
from fastapi import UploadFile

from arker import AsyncArker, AsyncVM, InvalidArgumentError, LocalFileError

pytestmark = pytest.mark.anyio

DATA = os.urandom(700_000) + bytes(700_000)

OPEN: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "bz2": bz2.open, "lzma": lzma.open}


@pytest.mark.parametrize("name", OPEN)
async def test_files_that_compress(vm: AsyncVM, tmp_path: Path, name: str) -> None:
    await vm.files.write_bytes("f", DATA)
    with OPEN[name](tmp_path / "f", "wb") as file:
        assert (await vm.download("f", file)).size == len(DATA)
    with OPEN[name](tmp_path / "f", "rb") as file:
        assert file.read() == DATA
        file.seek(10)
        await vm.upload(file, "again")
    assert await vm.files.read_bytes("again") == DATA[10:]


@pytest.mark.parametrize("make", [tempfile.SpooledTemporaryFile, tempfile.NamedTemporaryFile])
async def test_temporary_files(vm: AsyncVM, make: Callable[[], IO[bytes]]) -> None:
    await vm.files.write_bytes("f", DATA)
    with make() as file:
        await vm.download("f", file)
        file.seek(0)
        assert file.read() == DATA
        file.seek(1)
        await vm.upload(file, "again")
    assert await vm.files.read_bytes("again") == DATA[1:]


async def test_a_member_of_an_archive(vm: AsyncVM, tmp_path: Path) -> None:
    await vm.files.write_bytes("f", DATA)
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive, archive.open("inner", "w") as member:
        await vm.download("f", member)
    with zipfile.ZipFile(tmp_path / "f.zip") as archive, archive.open("inner") as member:
        await vm.upload(member, "again")
    assert await vm.files.read_bytes("again") == DATA


class Own:
    """A class that is written for bytes, and takes at most some at once."""

    def __init__(self, most: int | None, answer: Callable[[int], object]) -> None:
        self.data = b""
        self.most = most
        self.answer = answer

    def write(self, data: bytes) -> object:
        assert type(data) is bytes
        self.data += data[: self.most]
        return self.answer(len(data[: self.most]))


OWN: dict[str, tuple[int | None, Callable[[int], object]]] = {
    "none": (None, lambda _: None),
    "true": (None, lambda _: True),
    "count": (None, lambda count: count),
    "some": (99_999, lambda count: count),
}


@pytest.mark.parametrize("name", OWN)
async def test_a_class_of_one_s_own(vm: AsyncVM, name: str) -> None:
    await vm.files.write_bytes("f", DATA)
    target = Own(*OWN[name])
    await vm.download("f", target)
    assert target.data == DATA


async def test_one_that_takes_nothing(vm: AsyncVM) -> None:
    await vm.files.write_bytes("f", DATA)
    with pytest.raises(LocalFileError, match=r"write\(\) returned 0"):
        await vm.download("f", Own(0, lambda count: count))


class Pieces:
    """A class that keeps what it is given."""

    def __init__(self) -> None:
        self.pieces: list[object] = []


class Bytes(Pieces):
    def write(self, data: bytes) -> None:
        self.pieces.append(data)


class Truthful(Pieces):
    def write(self, data: bytes) -> bool:
        self.pieces.append(data)
        return True


class Awaited(Pieces):
    async def write(self, data: bytes) -> bool:
        self.pieces.append(data)
        return True


class Text(Pieces):
    def write(self, text: str) -> int:
        self.pieces.append(text)
        return len(text)


class Decoding(Pieces):
    def write(self, data: Any) -> None:
        self.pieces.append(data.decode())


@pytest.mark.parametrize(
    ("make", "given"), [(Bytes, b"hi\n"), (Truthful, b"hi\n"), (Awaited, b"hi\n"), (Text, "hi\n"), (Decoding, "hi\n")]
)
async def test_output_is_given_as_a_class_of_one_s_own_takes_it(
    vm: AsyncVM, make: Callable[[], Any], given: object
) -> None:
    taker = make()
    await vm.run("echo hi", on_stdout=taker)
    assert taker.pieces == [given]


# --- files whose methods are awaited ----------------------------------------------------------------------------------


class Delegating:
    """A file whose methods are awaited, but are no coroutine functions themselves."""

    def __init__(self, file: anyio.AsyncFile[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> Awaitable[bytes]:
        return self._file.read(size)

    def write(self, data: bytes) -> Awaitable[int]:
        return self._file.write(data)


def itself(file: anyio.AsyncFile[bytes]) -> anyio.AsyncFile[bytes]:
    return file


@pytest.mark.parametrize("wrap", [itself, Delegating])
async def test_a_file_of_anyio(vm: AsyncVM, tmp_path: Path, wrap: Callable[[anyio.AsyncFile[bytes]], Any]) -> None:
    await vm.files.write_bytes("f", DATA)
    async with await anyio.open_file(tmp_path / "f", "wb") as file:
        await vm.download("f", wrap(file))
    assert (tmp_path / "f").read_bytes() == DATA
    async with await anyio.open_file(tmp_path / "f", "rb") as file:
        await vm.upload(wrap(file), "again")
    assert await vm.files.read_bytes("again") == DATA


async def test_an_uploaded_file_of_a_web_framework(vm: AsyncVM) -> None:
    file = UploadFile(io.BytesIO(DATA), filename="f")
    await file.seek(5)
    await vm.upload(file, "f")
    assert await vm.files.read_bytes("f") == DATA[5:]


async def test_the_output_of_a_program_of_this_machine(vm: AsyncVM) -> None:
    words = ["sh", "-c", "head -c 1000000 /dev/zero; echo; echo end"]
    program = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    assert program.stdout is not None
    await vm.upload(program.stdout, "f")
    assert await program.wait() == 0
    assert await vm.files.read_bytes("f") == bytes(1_000_000) + b"\nend\n"


class Stream:
    """What asyncio's own streams do: `write` never waits, and belongs to the thread of the loop."""

    def __init__(self) -> None:
        self.data = b""
        self.waiting = self.most = 0

    def write(self, data: bytes) -> None:
        asyncio.get_running_loop()
        self.data += data
        self.waiting += len(data)
        self.most = max(self.most, self.waiting)

    async def drain(self) -> None:
        await asyncio.sleep(0)
        self.waiting = 0


async def test_a_stream_is_given_more_when_it_has_room(vm: AsyncVM) -> None:
    await vm.files.write_bytes("f", DATA * 4)
    stream = Stream()
    await vm.download("f", stream)
    assert stream.data == DATA * 4
    assert (stream.waiting, stream.most < len(DATA)) == (0, True)
    stream = Stream()
    await vm.run("cat f", on_stdout=stream)
    assert (stream.data, stream.waiting) == (DATA * 4, 0)


async def test_a_program_of_this_machine_as_a_target(vm: AsyncVM, tmp_path: Path) -> None:
    await vm.files.write_bytes("f", DATA)
    with (tmp_path / "f").open("wb") as file:
        program = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=file)
        assert program.stdin is not None
        await vm.download("f", program.stdin)
        await vm.run("echo end", on_stdout=program.stdin)
        program.stdin.close()
        assert await program.wait() == 0
    assert (tmp_path / "f").read_bytes() == DATA + b"end\n"


async def test_from_one_vm_to_another(ar: AsyncArker, vm: AsyncVM) -> None:
    await vm.files.write_bytes("f", DATA)
    other = await ar.fork("ubuntu")
    async with other.files.open("f", "wb") as file:
        await vm.download("f", file)
    assert await other.files.read_bytes("f") == DATA
    for source in (other.files.open("f", "rb"), other.open_read("f")):
        async with source as file:
            await vm.upload(file, "again")
        assert await vm.files.read_bytes("again") == DATA


async def test_parts_that_are_not_read_by_size(vm: AsyncVM) -> None:
    class Parts:
        async def read(self, *, decode: bool = False) -> bytes:
            raise AssertionError(decode)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"one"
            yield b"two"

    parts: Any = Parts()
    await vm.upload(parts, "f")
    assert await vm.files.read_bytes("f") == b"onetwo"


async def test_one_that_gives_text_is_refused(vm: AsyncVM) -> None:
    class Text:
        async def read(self, size: int) -> str:
            return "text"[:size]

    text: Any = Text()
    with pytest.raises(InvalidArgumentError, match="expected bytes from it, got str"):
        await vm.upload(text, "f")


async def test_a_file_that_does_not_wait_is_not_at_its_end(vm: AsyncVM) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    try:
        with open(reader, "rb", buffering=0) as file, pytest.raises(LocalFileError, match="does not wait"):  # noqa: ASYNC230
            await vm.upload(file, "f")
    finally:
        os.close(writer)
    assert not await vm.files.exists("f")


# --- takers of a command's output ------------------------------------------------------------------------------------


class Proxied:
    """A class whose write is no coroutine function, but returns what one does."""

    def __init__(self) -> None:
        self.data: list[Any] = []

    async def _write(self, data: Any) -> int:
        await asyncio.sleep(0)
        self.data.append(data[:2])
        return len(data[:2])


class ProxiedBytes(Proxied):
    def write(self, data: bytes) -> Awaitable[int]:
        return self._write(data)


class ProxiedText(Proxied):
    def write(self, data: str) -> Awaitable[int]:
        return self._write(data)


class Unsaid(Proxied):
    def write(self, data: Any) -> Awaitable[int]:
        return self._write(data)


async def test_what_takes_output_may_be_awaited(vm: AsyncVM, tmp_path: Path) -> None:
    async with (
        await anyio.open_file(tmp_path / "a", "wb") as binary,
        await anyio.open_file(tmp_path / "b", "w") as text,
    ):
        await vm.run("echo out; echo err >&2", on_stdout=binary, on_stderr=text)
        assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_text()) == (b"out\n", "err\n")
    uploaded = UploadFile(io.BytesIO())
    async with vm.files.open("log", "w") as log:
        await vm.run("echo out; echo err >&2", on_stdout=uploaded, on_stderr=log)
    await uploaded.seek(0)
    assert (await uploaded.read(), await vm.files.read_text("log")) == (b"out\n", "err\n")
    proxied = ProxiedBytes()
    await vm.run("echo out", on_stdout=proxied)
    assert proxied.data == [b"ou", b"t\n"]


async def test_nor_is_text_lost(vm: AsyncVM) -> None:
    proxied = ProxiedText()
    await vm.run("echo a", on_stdout=proxied)
    assert proxied.data == ["a\n"]
    with pytest.raises(InvalidArgumentError, match="annotate"):
        await vm.run("true", on_stdout=Unsaid())


async def test_nor_what_a_file_takes_nothing_of(vm: AsyncVM) -> None:
    with pytest.raises(OSError, match=r"took none of 3 bytes: write\(\) returned 0"):
        await vm.run("echo hi", on_stdout=Own(0, lambda count: count))


async def test_a_file_of_codecs_takes_text(vm: AsyncVM, tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as binary:
        await vm.run("printf '\\303\\251'", on_stdout=codecs.getwriter("utf-16")(binary))
    assert (tmp_path / "f").read_text("utf-16") == "é"


async def test_nor_what_a_file_has_no_room_for(vm: AsyncVM) -> None:
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        with io.FileIO(writing, "wb") as full:
            while full.write(bytes(65536)) is not None:
                pass
            with pytest.raises(BlockingIOError, match="does not wait"):
                await vm.run("echo lost", on_stdout=full)
    finally:
        os.close(reading)
