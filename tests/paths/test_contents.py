"""What files hold: whole, and opened."""

from __future__ import annotations

import asyncio
import io
import os
import random
from collections.abc import Awaitable
from functools import partial
from typing import Any

import pytest

from arker import (
    CHUNK_SIZE,
    ArkerError,
    AsyncRemoteFile,
    AsyncVM,
    ConfigurationError,
    FileTooLargeError,
    InvalidArgumentError,
    NetworkError,
    RemoteFileError,
    UnavailableError,
)
from arker.emulator import Emulator

pytestmark = pytest.mark.anyio

DATA = random.Random(1).randbytes(CHUNK_SIZE + 300_000)


async def test_text_and_bytes(vm: AsyncVM) -> None:
    files = vm.files
    assert await files.write_text("/tmp/a/b/text", "é\r\nb\n", parents=True) == 5
    assert await files.read_text("/tmp/a/b/text") == "é\r\nb\n"
    assert await files.read_bytes("/tmp/a/b/text") == "é\r\nb\n".encode()
    assert await files.write_text("/tmp/latin", "é", encoding="latin-1") == 1
    assert await files.read_text("/tmp/latin", errors="replace") == "\ufffd"
    with pytest.raises(UnicodeDecodeError):
        await files.read_text("/tmp/latin")
    with pytest.raises(FileTooLargeError, match="at most 3 may be read into memory"):
        await files.read_bytes("/tmp/a/b/text", max_bytes=3)
    for codec in ("hex", "rot13", "nothing"):  # the first two are codecs, but none of text
        with pytest.raises(InvalidArgumentError, match="encoding"):
            await files.read_text("/tmp/a/b/text", encoding=codec)
        with pytest.raises(InvalidArgumentError, match="encoding"):
            await files.write_text("/tmp/a/b/text", "x", encoding=codec)
        with pytest.raises(InvalidArgumentError, match="encoding"):
            files.open("/tmp/a/b/text", encoding=codec)


async def test_errors_name_a_relative_path_as_the_caller_gave_it(vm: AsyncVM) -> None:
    files, long = vm.files, "x" * 300
    calls: dict[str, list[Awaitable[object]]] = {
        "none": [
            files.read_bytes("none"),
            files.read_text("none"),
            files.open("none").__aenter__(),
            files.stat("none"),
        ],
        "./~none": [files.read_bytes("./~none")],
        "./-none": [files.read_bytes("./-none")],
        long: [files.write_bytes(long, b"x"), files.write_bytes(long, b"x", parents=True), files.touch(long)],
    }
    for path, tried in calls.items():
        for call in tried:
            with pytest.raises(RemoteFileError) as caught:
                await call
            assert (caught.value.filename, caught.value.file) == (path, path), caught.value


@pytest.mark.parametrize("size", [0, 1, 8 * 1024 + 1, len(DATA)])
async def test_appending(vm: AsyncVM, size: int) -> None:
    assert await vm.files.write_bytes("/tmp/file", DATA[:size], append=True) == size
    assert await vm.files.write_bytes("/tmp/file", b"\0\\n%s", append=True) == 5
    assert await vm.files.read_bytes("/tmp/file") == DATA[:size] + b"\0\\n%s"
    assert await vm.files.listdir("/tmp") == ["file"]


async def test_what_may_not_be_written_is_not_replaced(vm: AsyncVM) -> None:
    await vm.files.write_text("/tmp/d/file", "kept", mode=0o444, parents=True)
    if (await vm.run("id -u")).stdout_text == "0\n":
        return  # to root everything is writable
    for parents in (False, True):
        with pytest.raises(PermissionError):
            await vm.files.write_text("/tmp/d/file", "new", parents=parents)
        with pytest.raises(PermissionError):
            async with vm.files.open("/tmp/d/file", "w", parents=parents):
                pass
        with pytest.raises(IsADirectoryError):
            await vm.files.write_text("/tmp/d", "new", parents=parents)
    with pytest.raises(NotADirectoryError):
        await vm.files.write_text("/tmp/d/file/below", "new", parents=True)
    await vm.files.chmod("/tmp/d", 0o555)
    with pytest.raises(PermissionError):
        await vm.files.write_text("/tmp/d/a/b", "new", parents=True)
    assert await vm.files.read_text("/tmp/d/file") == "kept"


async def test_permissions(vm: AsyncVM) -> None:
    files = vm.files
    await files.write_bytes("/tmp/file", b"1", mode=0o741)
    await files.write_bytes("/tmp/file", b"2")
    assert (await files.stat("/tmp/file")).mode == 0o741
    await files.write_bytes("/tmp/file", b"3", append=True, mode=0o600)
    assert (await files.stat("/tmp/file")).mode == 0o600
    assert await files.read_bytes("/tmp/file") == b"23"


async def test_names_that_are_not_utf8_have_contents_of_any_size(vm: AsyncVM) -> None:
    path = "/tmp/\udcff"
    await vm.files.write_bytes(path, DATA)
    assert await vm.files.read_bytes(path) == DATA
    await vm.files.write_bytes("/tmp/\udcfe/\udcfd", b"x", parents=True)
    assert await vm.files.read_bytes("/tmp/\udcfe/\udcfd") == b"x"
    assert sorted(await vm.files.listdir("/tmp")) == ["\udcfe", "\udcff"]


async def test_a_symlink_that_leads_to_nothing_yet_is_written_through(vm: AsyncVM) -> None:
    files = vm.files
    await vm.run("cd /tmp; ln -s new link; ln -s none/new far")
    await files.write_bytes("/tmp/link", b"1")
    await files.remove("/tmp/new")
    await files.write_bytes("/tmp/link", b"2", append=True)
    assert await files.read_bytes("/tmp/new") == b"2"
    await files.remove("/tmp/new")
    await files.touch("/tmp/link")
    assert await files.readlink("/tmp/link") == "new"
    assert await files.is_file("/tmp/new")
    for append in (False, True):
        with pytest.raises(FileNotFoundError):
            await files.write_bytes("/tmp/far", b"x", append=append)


async def test_an_open_file_is_read_from_any_position(vm: AsyncVM) -> None:
    await vm.files.write_bytes("/tmp/file", DATA)
    async with vm.files.open("/tmp/file", "rb") as file:
        assert (file.size, file.tell(), file.mode, file.path) == (len(DATA), 0, "rb", "/tmp/file")
        assert await file.read(10) == DATA[:10]
        assert file.seek(CHUNK_SIZE - 5) == CHUNK_SIZE - 5
        assert await file.read(100_000) == DATA[CHUNK_SIZE - 5 : CHUNK_SIZE - 5 + 100_000]
        assert file.seek(-7, os.SEEK_END) == len(DATA) - 7
        assert await file.read() == DATA[-7:]
        assert await file.read() == b""
        assert file.seek(-20, os.SEEK_CUR) == len(DATA) - 20
        assert await file.readline() == DATA[-20:].split(b"\n")[0] + (b"\n" if b"\n" in DATA[-20:] else b"")
        file.seek(0)
        assert await file.read() == DATA
        assert file.seek(len(DATA) + 5) == len(DATA) + 5
        assert await file.read(1) == b""
        for offset, whence in ((-1, os.SEEK_SET), (-1, os.SEEK_CUR), (0, 9)):
            with pytest.raises(InvalidArgumentError):
                file.seek(offset - len(DATA) * 2 if whence else offset, whence)
    assert file.closed
    with pytest.raises(ConfigurationError, match="not open"):
        await file.read()


@pytest.mark.parametrize("mode", ["r", "rb"])
async def test_a_call_that_fails_loses_nothing_of_an_open_file(emulator: Emulator, vm: AsyncVM, mode: str) -> None:
    data = b"first\n" + b"x" * (CHUNK_SIZE + 2_000_000) + b"\nlast"
    await vm.files.write_bytes("/tmp/file", data)
    async with vm.files.open("/tmp/file", mode) as file:
        whole = data if mode == "rb" else data.decode()
        read = await file.readline()
        assert read == whole[:6]
        for call in (file.readline, file.readlines, partial(file.read, 3_000_000), file.read):
            fault = emulator.faults.error(operation="presigned_get", status=503, times=None, retry_after=0.01)
            with fault, pytest.raises(UnavailableError):
                await call()
        read += await file.readline()
        assert read == whole[: -len("last")]
        assert read + await file.read() == whole


async def test_a_write_that_is_cancelled_loses_nothing_of_those_before(vm: AsyncVM) -> None:
    async with vm.files.open("/tmp/file", "wb") as file:
        await file.write(DATA[:CHUNK_SIZE])
        writing = asyncio.create_task(file.write(b"x" * CHUNK_SIZE))
        await asyncio.sleep(0)  # it has begun to move to the disk what has been written
        assert not writing.done()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await file.write(b"end")
    assert await vm.files.read_bytes("/tmp/file") == DATA[:CHUNK_SIZE] + b"x" * CHUNK_SIZE + b"end"


async def test_lines_are_those_of_the_file(vm: AsyncVM) -> None:
    data = b"".join(b"x" * (number % 300) + b"\n" for number in range(2000)) + b"end"
    await vm.files.write_bytes("/tmp/file", data)
    async with vm.files.open("/tmp/file", "rb") as file:
        assert [line async for line in file] == data.splitlines(keepends=True)
    async with vm.files.open("/tmp/file") as text:
        assert [line async for line in text] == data.decode().splitlines(keepends=True)


async def test_lines_of_a_file_as_a_list(vm: AsyncVM) -> None:
    await vm.files.write_text("/tmp/lines", "one\ntwo\n\nthree")
    for hint, lines in ((-1, ["one\n", "two\n", "\n", "three"]), (4, ["one\n"]), (5, ["one\n", "two\n"])):
        async with vm.files.open("/tmp/lines") as text, vm.files.open("/tmp/lines", "rb") as file:
            assert text.name == "/tmp/lines"
            assert await text.readlines(hint) == lines
            assert [line.decode() for line in await file.readlines(hint)] == lines
            rest = "one\ntwo\n\nthree".removeprefix("".join(lines))
            assert (await text.read(None), await file.read(None)) == (rest, rest.encode())
            assert await text.readlines(None) == []
            await text.flush()
            with pytest.raises(InvalidArgumentError):
                await text.readlines(-2)
            with pytest.raises(ConfigurationError):
                await text.writelines(["x"])
    async with vm.files.open("/tmp/lines", "w") as text:
        for wrong in ("text", b"bytes", 5):
            with pytest.raises(InvalidArgumentError) as caught:
                await text.writelines(wrong)  # type: ignore[arg-type]
            assert caught.value.argument == "lines"
        await text.writelines(["ü", "ß\n"])
    assert await vm.files.read_text("/tmp/lines") == "üß\n"
    with pytest.raises(ConfigurationError):
        await text.flush()


async def test_an_open_file_of_text(vm: AsyncVM) -> None:
    text = "äöü\r\n" * 50_000 + "€"
    async with vm.files.open("/tmp/text", "x", permissions=0o600) as file:
        for start in range(0, len(text), 7777):
            piece = text[start : start + 7777]
            assert await file.write(piece) == len(piece)
        assert file.size == len(text.encode())
    assert (await vm.files.stat("/tmp/text")).mode == 0o600
    async with vm.files.open("/tmp/text", "r") as read:
        assert await read.readline() == "äöü\r\n"
        assert await read.read(3) == "äöü"
        assert await read.read() == text[8:]
        read.seek(0)
        assert await read.read() == text
        with pytest.raises(InvalidArgumentError):
            read.seek(3)
        with pytest.raises(InvalidArgumentError, match="whence"):
            read.seek(0, os.SEEK_END)
        with pytest.raises(ConfigurationError):
            read.tell()
    async with vm.files.open("/tmp/text", "a") as more:
        await more.write("more")
    assert (await vm.files.read_text("/tmp/text")).endswith("€more")


async def test_an_open_file_is_written_at_the_end_of_its_block_or_not_at_all(vm: AsyncVM) -> None:
    async with vm.files.open("/tmp/file", "wb") as file:
        for start in range(0, len(DATA), 100_000):
            await file.write(DATA[start : start + 100_000])
        assert (file.size, file.tell()) == (len(DATA), len(DATA))
        assert not await vm.files.exists("/tmp/file")
    assert await vm.files.read_bytes("/tmp/file") == DATA
    with pytest.raises(KeyError):
        await _failing(vm)
    assert await vm.files.read_bytes("/tmp/file") == DATA
    for mode, kind, path in (
        ("x", FileExistsError, "/tmp/file"),
        ("w", FileNotFoundError, "/tmp/none/file"),
        ("a", IsADirectoryError, "/tmp"),
        ("rb", FileNotFoundError, "/tmp/none"),
    ):
        with pytest.raises(kind) as caught:
            async with vm.files.open(path, mode):
                pass
        assert isinstance(caught.value, ArkerError)
        assert caught.value.operation == "vm.files.open"


async def test_what_is_flushed_is_there_and_what_follows_is_appended(vm: AsyncVM) -> None:
    for mode, before in (("xb", b""), ("wb", b""), ("ab", DATA[:100_010])):
        async with vm.files.open("/tmp/file", mode, permissions=0o640) as file:
            await file.write(DATA[:100_000])
            await file.flush()
            assert await vm.files.read_bytes("/tmp/file") == before + DATA[:100_000]
            await file.flush()
            await file.writelines([b"a", bytearray(b"bc"), memoryview(b"de")])
            assert (file.tell(), file.size) == (len(before) + 100_005, 100_005)
            await file.flush()
            assert await vm.files.read_bytes("/tmp/file") == before + DATA[:100_000] + b"abcde"
            await file.writelines(iter([b"fg", b"hij"]))
        assert await vm.files.read_bytes("/tmp/file") == before + DATA[:100_000] + b"abcdefghij"
        assert (await vm.files.stat("/tmp/file")).mode == 0o640
        if mode == "ab":
            break
        await vm.files.write_bytes("/tmp/file", DATA[:100_010])
        if mode == "xb":
            await vm.files.remove("/tmp/file")


async def test_the_position_in_a_file_that_is_written(vm: AsyncVM) -> None:
    await vm.files.symlink("at", "link")
    positions: list[int] = []
    for name, mode, data in (
        ("at", "a", "ä\n"),
        ("at", "ab", b"x"),
        ("link", "a", "y"),
        ("at", "w", "z"),
        ("x", "xb", b""),
    ):
        file: AsyncRemoteFile[Any] = vm.files.open(name, mode)
        async with file:
            positions.append(file.tell())
            await file.write(data)
            await file.flush()
            positions.append(file.tell())
    assert positions == [0, 3, 3, 4, 4, 5, 0, 1, 0, 0]
    async with vm.files.open("at") as text:
        with pytest.raises(io.UnsupportedOperation):
            text.tell()


async def test_a_flush_of_unknown_outcome_is_not_repeated(emulator: Emulator, vm: AsyncVM) -> None:
    file = vm.files.open("/tmp/file", "ab")
    await file.__aenter__()
    await file.write(b"once")
    emulator.faults.close(operation="run", times=20)
    with pytest.raises(NetworkError) as caught:
        await file.flush()
    assert caught.value.outcome == "unknown"
    emulator.faults.clear()
    with pytest.raises(NetworkError):
        await file.aclose()


async def _failing(vm: AsyncVM) -> None:
    async with vm.files.open("/tmp/file", "w") as file:
        await file.write("x")
        raise KeyError


async def test_a_file_is_used_as_it_was_opened(vm: AsyncVM) -> None:
    async with vm.files.open("/tmp/file", "wb") as file:
        with pytest.raises(InvalidArgumentError):
            await file.write("text")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError):
            await file.read()
        await file.write(b"x")
    async with vm.files.open("/tmp/file") as text:
        with pytest.raises(ConfigurationError):
            await text.write("x")
    with pytest.raises(ConfigurationError, match="once"):
        async with text:
            pass
