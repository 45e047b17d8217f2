"""Calls that are cut off and made again: nothing is lost, nothing comes twice, and no list looks shorter than it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest

from arker import AsyncVM, TransferError
from arker.emulator import Emulator
from arker.emulator.control.fault import Fault
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio

NUMBERS = b"".join(b"%d\n" % number for number in range(650_000))


async def cut(work: Coroutine[Any, Any, object], fault: Fault) -> None:
    """Cancel a call when a fault has met its request."""
    task = asyncio.ensure_future(work)
    await until(lambda: fault.refresh().fired)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def content(vm: AsyncVM, path: str, least: int) -> bytes:
    """Return a file as soon as it is there and has some bytes."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            if len(found := await vm.sync(path)) >= least:
                return found
        await asyncio.sleep(0.01)


# --- the input of a command -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 20_000])
async def test_input_after_a_write_that_was_cut_off_and_had_arrived(vm: AsyncVM, emulator: Emulator, size: int) -> None:
    first, second, third = (letter * size for letter in (b"1", b"2", b"3"))
    run = await vm.start("cat | tee got", stdin=True)
    await run.write(first)
    with emulator.faults.stall(processed=True, operation="run"):
        writing = asyncio.ensure_future(run.write(second))
        await content(vm, "got", 2 * size)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
    await run.write(third)
    await run.close_stdin()
    assert (await run.wait()).stdout == first + second + third


async def test_input_after_a_write_that_was_cut_off_and_did_not_arrive(vm: AsyncVM, emulator: Emulator) -> None:
    run = await vm.start("cat", stdin=True)
    with emulator.faults.stall(operation="run") as fault:
        await cut(run.write(b"never\n"), fault)
    await run.write(b"sent\n")
    await run.close_stdin()
    assert (await run.wait()).stdout == b"sent\n"


async def test_an_end_of_input_that_was_cut_off_is_made_again(vm: AsyncVM, emulator: Emulator) -> None:
    run = await vm.start("cat", stdin=True)
    await run.write(b"all\n")
    with emulator.faults.stall(operation="run") as fault:
        await cut(run.close_stdin(), fault)
    await run.close_stdin()
    assert (await run.wait(deadline=PATIENCE)).stdout == b"all\n"


# --- files that are read ----------------------------------------------------------------------------------------------


@pytest.fixture
async def numbers(vm: AsyncVM) -> str:
    await vm.upload(NUMBERS, "numbers")
    return "numbers"


async def test_a_reading_of_a_stream_that_was_cut_off(vm: AsyncVM, emulator: Emulator, numbers: str) -> None:
    with emulator.faults.throttle(bytes_per_second=2_000_000):
        async with vm.open_read(numbers) as stream:
            head = await stream.read(10)
            task = asyncio.ensure_future(stream.read())
            await until(lambda: stream.position > 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert stream.position == 10
            assert head + await stream.read(100) + await stream.read() == NUMBERS


@pytest.mark.parametrize("mode", ["r", "rb"])
async def test_readings_of_an_open_file_that_were_cut_off(
    vm: AsyncVM, emulator: Emulator, numbers: str, mode: str
) -> None:
    def whole(pieces: list[Any]) -> bytes:
        return b"".join(piece if isinstance(piece, bytes) else piece.encode() for piece in pieces)

    async with vm.files.open(numbers, mode) as file:
        pieces = [await file.read(10)]
        with emulator.faults.stall(operation="presigned_get") as fault:
            await cut(file.read(2_000_000), fault)
        with emulator.faults.stall(operation="presigned_get") as fault:
            await cut(file.read(), fault)
        with emulator.faults.stall(operation="presigned_get") as fault:
            await cut(file.readlines(), fault)
        assert whole([*pieces, await file.read()]) == NUMBERS

    async with vm.files.open(numbers, mode) as file:
        pieces = [await file.readline()]

        async def lines() -> None:
            async for line in file:
                pieces.append(line)

        with emulator.faults.stall(operation="presigned_get") as fault:
            await cut(lines(), fault)
        await lines()
        assert whole(pieces) == NUMBERS


async def test_text_that_cannot_be_decoded_stays_so(vm: AsyncVM) -> None:
    await vm.sync("broken", b"good\n" + b"x" * 100_000 + b"\xff")
    async with vm.files.open("broken") as file:
        assert await file.readline() == "good\n"
        for _ in range(2):
            with pytest.raises(UnicodeDecodeError):
                await file.read()
        assert await file.read(10) == "x" * 10


# --- files that are written -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "operation"), [("a", "run"), ("x", "sync")])
async def test_what_may_have_been_sent_is_not_sent_again(
    vm: AsyncVM, emulator: Emulator, mode: str, operation: Any
) -> None:
    file = await vm.files.open("log", mode).__aenter__()
    await file.write("a line\n")
    with emulator.faults.stall(processed=True, operation=operation) as fault:
        await cut(file.flush(), fault)
    await file.write("another\n")
    with pytest.raises(TransferError, match="log: what was written may be there already, since its sending was given"):
        await file.aclose()
    found = await vm.files.read_bytes("log") if await vm.files.exists("log") else b""
    assert found in (b"", b"a line\n")  # what was cut off may not have been begun


async def test_a_file_that_is_written_anew_is_sent_again(vm: AsyncVM, emulator: Emulator) -> None:
    async with vm.files.open("log", "w") as file:
        await file.write("a line\n")
        with emulator.faults.stall(processed=True, operation="sync"):
            flushing = asyncio.ensure_future(file.flush())
            while not await vm.files.exists("log"):
                await asyncio.sleep(0.01)
            flushing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await flushing
        await file.write("another\n")
    assert await vm.sync("log") == b"a line\nanother\n"


async def test_writings_that_were_cut_off_leave_no_gap(vm: AsyncVM) -> None:
    piece = bytes(range(256)) * 8192
    async with vm.files.open("large", "wb") as file:
        for _ in range(5):
            task = asyncio.ensure_future(file.write(piece))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
    assert await vm.sync("large") == piece * 5


# --- lists ------------------------------------------------------------------------------------------------------------


async def test_lists_that_were_cut_off_at_their_beginning_begin_anew(vm: AsyncVM, emulator: Emulator) -> None:
    await vm.run("mkdir -p tree/below; seq 5 > tree/one; seq 5 > tree/below/two", check=True)
    assert [entry async for entry in vm.files.scandir("tree")]  # what tools there are is known from now on
    entries, walk, matches = vm.files.scandir("tree"), vm.files.walk("tree"), vm.files.grep("^3$", "tree")
    for each in (entries, walk, matches):
        with emulator.faults.stall(operation="run") as fault:
            await cut(anext(each), fault)
    assert sorted([entry.name async for entry in entries]) == ["below", "one"]
    assert [path async for path, _, _ in walk] == ["tree", "tree/below"]
    assert sorted([match.path async for match in matches]) == ["tree/below/two", "tree/one"]


async def test_long_lists_that_were_cut_off_go_on(vm: AsyncVM, emulator: Emulator) -> None:
    await vm.run(
        "mkdir many tmp; touch tmp/it; cd many; seq -f 'a-rather-long-name-of-a-file-%06g' 20000 | xargs touch",
        check=True,
    )
    await anext(vm.files.scandir("tmp"))
    entries = vm.files.scandir("many")
    with emulator.faults.stall(operation="sync") as fault:
        await cut(anext(entries), fault)
    found = 0
    while found < 20000:
        task = asyncio.ensure_future(anext(entries))
        await asyncio.sleep(0)  # mostly enough, unless a piece has to be read
        task.cancel()
        await asyncio.wait({task})
        _ = await anext(entries) if task.cancelled() else task.result()
        found += 1
    with pytest.raises(StopAsyncIteration):
        await anext(entries)
