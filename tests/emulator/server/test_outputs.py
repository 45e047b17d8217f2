"""Outputs of runs: large ones are in files, no more of them in memory than is needed, and all go with their VM."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from arker.emulator import Emulator
from arker.emulator.sandbox.base import LargeOutput
from arker.emulator.sandbox.capture import IN_MEMORY, Capture
from arker.emulator.server.outputs import KEPT_SMALL, Pieces, StoredOutput, encode, store
from tests.emulator.sandbox.support import until
from tests.emulator.server.conftest import new_place
from tests.emulator.server.support import ISOLATION, Api, output
from tests.support.forked import ForkedEmulator

pytestmark = pytest.mark.anyio

SIZE = 40_000_000
LARGE = f"head -c {SIZE} /dev/zero; head -c {SIZE} /dev/zero | tr '\\0' e >&2"
"""Prints this many bytes of each kind, text and none."""


@pytest.fixture(scope="module")
def state_parent() -> Iterator[Path]:
    with new_place() as path:
        yield path


@pytest.fixture(scope="module")
def emulator(state_parent: Path) -> Iterator[Emulator]:
    with ForkedEmulator(isolation=ISOLATION, state_parent=state_parent) as emulator:
        yield emulator


@pytest.fixture
async def api(emulator: Emulator) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession(read_bufsize=2**20) as session:
        yield Api(session, emulator.url, emulator.api_key)


@pytest.fixture
def spool(state_parent: Path) -> Path:
    (directory,) = state_parent.iterdir()
    return directory / "spool"


def memory(emulator: Emulator) -> int:
    """Bytes of memory that the server's process has."""
    pages = Path(f"/proc/{emulator.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def sizes(spool: Path) -> list[int]:
    return sorted(path.stat().st_size for path in spool.iterdir())


async def test_what_goes_on_holds_little_memory_and_leaves_nothing(emulator: Emulator, api: Api, spool: Path) -> None:
    vm = (await api.fork())["vm_id"]
    await api.run(vm, "head -c 3000000 /dev/zero")  # loads what is loaded late
    before = memory(emulator)
    going = await api.background(vm, f"{LARGE}; touch done; sleep 600")
    await api.run(vm, "until [ -e done ]; do sleep .02; done", session_id=await session_of(api, vm))
    assert memory(emulator) - before < SIZE
    run = await api.get_run(vm, going)
    assert run["state"] == "running"
    assert output(run) == bytes(SIZE)
    assert output(run, "stderr") == b"e" * SIZE
    assert memory(emulator) - before < SIZE
    assert sum(sizes(spool)) > SIZE
    await api.delete(vm)
    await until(lambda: sizes(spool) == [])
    assert memory(emulator) - before < SIZE


async def session_of(api: Api, vm: str) -> str:
    return str((await api.call("POST", f"/v1/vms/{vm}/sessions", {})).json["session_id"])


async def test_what_has_ended_is_in_files_even_while_something_goes_on_in_the_background(api: Api, spool: Path) -> None:
    vm = (await api.fork())["vm_id"]
    for size in (KEPT_SMALL, KEPT_SMALL + 1, IN_MEMORY - 1, 3 * IN_MEMORY):
        run = await api.run(vm, f"sleep 600 & head -c {size} /dev/zero")
        assert output(run) == bytes(size)
        assert output(await api.get_run(vm, run["run_id"])) == bytes(size)
    await until(lambda: sizes(spool) == [KEPT_SMALL + 1, IN_MEMORY - 1, 3 * IN_MEMORY])
    await api.delete(vm)
    await until(lambda: sizes(spool) == [])


async def test_a_caller_that_waits_for_a_run_gets_its_output_when_the_vm_is_deleted(api: Api, spool: Path) -> None:
    vm = (await api.fork())["vm_id"]
    waiting = asyncio.ensure_future(
        api.run(vm, f"{LARGE}; touch done; sleep 600", session_id=await session_of(api, vm))
    )
    await api.run(vm, "until [ -e done ]; do sleep .02; done")
    await api.delete(vm)
    run = await waiting
    assert (run["state"], run["fail_reason"]) == ("failed", "the VM was deleted")
    assert output(run) == bytes(SIZE)
    assert output(run, "stderr") == b"e" * SIZE
    await until(lambda: sizes(spool) == [])


async def test_a_repeated_request_finds_a_small_answer_after_the_vm_has_gone(api: Api) -> None:
    vm = (await api.fork())["vm_id"]
    requests = {size: {"command": f"head -c {size} /dev/zero | tr '\\0' a"} for size in (10, KEPT_SMALL + 1, SIZE)}
    path = f"/v1/vms/{vm}/runs"
    first = {size: await api.call("POST", path, body, idempotency_key=str(size)) for size, body in requests.items()}
    again = {size: await api.call("POST", path, body, idempotency_key=str(size)) for size, body in requests.items()}
    assert [reply.json for reply in again.values()] == [reply.json for reply in first.values()]
    await api.delete(vm)
    late = {size: await api.call("POST", path, body, idempotency_key=str(size)) for size, body in requests.items()}
    assert late[10].json == first[10].json
    assert late[SIZE].refusal == late[KEPT_SMALL + 1].refusal == (404, "not_found")


# --- in detail ---


def refuse(size: int) -> None:
    raise AssertionError(f"{size} bytes were dropped")


def captured(capture: Capture) -> bytes:
    content = capture.content()
    if isinstance(content, bytes):
        return content
    return content.path.read_bytes()[: content.stored] + content.rest


async def test_a_capture_is_exact_whenever_it_is_read(tmp_path: Path) -> None:
    resumed = asyncio.Event()
    capture = Capture(tmp_path, resumed.set, refuse)
    expected = b""
    for number in range(200):
        piece = hashlib.sha256(str(number).encode()).digest() * 4000
        resumed.clear()
        more = capture.add(piece)
        expected += piece
        if number % 20 == 0:
            assert captured(capture) == expected
        if not more:
            await asyncio.wait_for(resumed.wait(), 60)
    assert captured(capture) == expected
    content = capture.content()
    assert isinstance(content, LargeOutput)
    assert len(content) == len(expected)
    capture.release()
    assert capture.content() == b""
    stored = await store(StoredOutput(content), tmp_path)
    assert isinstance(stored, StoredOutput)
    assert stored.content.path.read_bytes() == expected
    stored.discard()
    assert list(tmp_path.iterdir()) == []


async def test_a_capture_that_is_released_while_it_writes_leaves_no_file(tmp_path: Path) -> None:
    for _ in range(20):
        capture = Capture(tmp_path, lambda: None, refuse)
        capture.add(bytes(IN_MEMORY + 1))
        assert capture.content() == bytes(IN_MEMORY + 1)
        capture.release()
    await until(lambda: list(tmp_path.iterdir()) == [])


async def test_without_a_place_for_it_the_beginning_is_kept_and_the_rest_counted(tmp_path: Path) -> None:
    dropped: list[int] = []
    capture = Capture(tmp_path / "missing", lambda: None, dropped.append)
    capture.add(b"a" * IN_MEMORY)
    capture.add(b"b")
    await until(lambda: capture.failure is not None)
    assert capture.add(b"c" * 1000)
    assert captured(capture) == b"a" * IN_MEMORY + b"b"
    assert (dropped, capture.failure) == ([1000], "No such file or directory")


@pytest.mark.parametrize("size", [100_000, 9_000_000])
@pytest.mark.parametrize("text", ['ä\u20ac\U0001f600"\\\n', "a\0b", None])
async def test_every_kind_of_output_becomes_json(tmp_path: Path, size: int, text: str | None) -> None:
    unit = b"\xff\xfe\x00" if text is None else text.encode()
    data = unit * (size // len(unit))
    path = tmp_path / "output"
    for stored in (0, 1, len(data) // 2 + 1, len(data)):
        path.write_bytes(data[:stored] + b"what came later")
        encoded = await encode(LargeOutput(path, stored, data[stored:]))
        assert isinstance(encoded.text, Pieces)
        pieces = b"".join([piece async for piece in encoded.text])
        encoded.close()
        assert len(pieces) == encoded.text.size
        assert output({"stdout": json.loads(b'"' + pieces + b'"'), "stdout_encoding": encoded.encoding}) == data
        assert encoded.encoding == ("utf-8" if text and "\0" not in text else "base64")
