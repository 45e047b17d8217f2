"""Watches of directories in unusual orders of events: by the program that asks the kernel, and by comparing lists."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import select
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from arker import AsyncArker, AsyncVM, RemotePermissionError, RunFailedError
from arker._lifecycle.own_sessions import own_sessions
from arker._paths import watching
from arker._paths.inotify import Watch
from arker.emulator import Emulator, EmulatorOptions
from arker.emulator._state import remove_state_dir
from tests.emulator.server.conftest import new_place
from tests.support.forked import ForkedEmulator

pytestmark = pytest.mark.anyio

LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")


class Seen:
    """The program's watch of a directory on this machine."""

    def __init__(self, root: Path, *, deep: bool = True) -> None:
        self.watch = Watch(os.fsencode(root), deep)
        self.watch.found.clear()
        self.there = True

    def next(self) -> list[str]:
        """Return what the kernel has told until now."""
        told: list[str] = []
        while self.there and select.select([self.watch.fd], [], [], 0)[0]:
            records, self.there = self.watch.read()
            told += [f"{kind.decode()} {path.decode('latin-1')}" for kind, _, path in records]
        return told


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_what_was_found_there_is_told_again_when_it_changes(root: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "file").touch()
    seen = Seen(root)
    (tmp_path / "in").rename(root / "in")
    assert seen.next() == ["created in", "created in/deep", "created in/deep/file"]
    (tmp_path / "new").touch()
    (tmp_path / "new").replace(root / "in" / "deep" / "file")
    assert seen.next() == ["created in/deep/file"]
    (root / "in" / "deep" / "file").unlink()
    (root / "in" / "deep" / "file").touch()
    assert seen.next() == ["deleted in/deep/file", "created in/deep/file"]


def test_what_is_found_before_its_event_is_told_once(root: Path) -> None:
    seen = Seen(root)
    (root / "a").mkdir()
    (root / "a" / "b").mkdir()
    seen.watch.add(b"a", [])  # both are found, and the kernel tells of what follows
    (root / "a" / "b" / "c").touch()
    assert seen.next() == ["created a", "created a/b", "created a/b/c"]
    (root / "a" / "b" / "c").unlink()
    (root / "a" / "b" / "c").touch()
    assert seen.next() == ["deleted a/b/c", "created a/b/c"]


def test_a_directory_that_was_moved_away_is_not_watched(root: Path, tmp_path: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / "ab").mkdir()
    seen = Seen(root)
    (root / "a").rename(tmp_path / "away")
    assert seen.next() == ["deleted a"]
    (tmp_path / "away" / "b" / "file").touch()
    (tmp_path / "away" / "file").touch()
    (root / "ab" / "file").touch()
    assert seen.next() == ["created ab/file"]
    (root / "a").mkdir()
    assert seen.next() == ["created a"]
    (tmp_path / "away" / "b").rename(root / "a" / "b")
    (root / "ab").rename(root / "c")
    assert seen.next() == ["created a/b", "created a/b/file", "deleted ab", "created c", "created c/file"]
    (root / "a" / "b" / "more").touch()
    (root / "c" / "more").touch()
    assert seen.next() == ["created a/b/more", "created c/more"]


def test_directories_made_while_events_are_lost_are_watched(root: Path, tmp_path: Path) -> None:
    (root / "old").mkdir()
    (root / "a").touch()
    (root / "b").touch()
    seen = Seen(root)
    for _ in range(int(LIMIT.read_text()) // 2 + 1):
        for name in ("a", "b"):  # the same twice would be one event
            with (root / name).open("ab") as file:
                file.write(b"x")
    (root / "new" / "deep").mkdir(parents=True)
    (root / "old").rename(tmp_path / "old")
    assert "overflow " in seen.next()
    (root / "new" / "deep" / "file").touch()
    (tmp_path / "old" / "file").touch()
    assert seen.next() == ["created new/deep/file"]


def test_a_directory_that_cannot_be_watched_ends_the_watch(root: Path) -> None:
    seen = Seen(root)

    class Libc:
        def __getattr__(self, name: str) -> Any:
            return self.refuse

        def refuse(self, *arguments: object) -> int:
            ctypes.set_errno(errno.ENOSPC)
            return -1

    seen.watch.libc = Libc()  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]
    (root / "one").mkdir()
    with pytest.raises(OSError, match="inotify_add_watch") as caught:
        seen.next()
    assert caught.value.errno == errno.ENOSPC


def test_symlinks_in_place_of_directories_are_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    seen = Seen(root)
    (root / "a").mkdir()
    (root / "a").rmdir()
    (root / "a").symlink_to(tmp_path / "out")
    assert seen.next() == ["created a", "deleted a", "created a"]
    (tmp_path / "out" / "file").touch()
    assert seen.next() == []


def test_another_program_takes_over(root: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(b"odd\n\xff")).touch()
    seen = Seen(root)
    (tmp_path / "in").rename(root / "in")
    assert seen.next() == ["created in", "created in/odd\n\xff"]
    (root / "in" / "between").touch()  # told to the one that takes over
    name = f"arker-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as door, ThreadPoolExecutor(1) as pool:
        door.bind("\0" + name)
        door.listen(1)
        later = pool.submit(Watch, os.fsencode(root), True, name)
        line, _ = door.accept()
        with line:
            seen.watch.hand_over(line)
        os.close(seen.watch.fd)
        seen.watch = later.result()
    (root / "in" / "after").touch()
    assert seen.next() == ["created in/between", "created in/after"]
    (root / "in").rename(tmp_path / "in")
    (tmp_path / "in" / "more").touch()
    assert seen.next() == ["deleted in"]
    root.rmdir()
    assert seen.next() == ["deleted "]


async def _sessions(vm: AsyncVM) -> int:
    return len([each for each in (await vm.list_sessions()).sessions if each.session_idx])


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_MOST", 300)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("patience", [60, 0.02])
async def test_many_events_are_told_once_each_and_in_order(vm: AsyncVM, emulator: Emulator, patience: float) -> None:
    await vm.files.mkdir("/tmp/w")
    async with vm.files.watch("/tmp/w", recursive=True, interval=0.1) as changes:
        before = await _sessions(vm)
        told: list[str] = []
        for batch in range(4):
            command = f"mkdir /tmp/w/{batch} && cd /tmp/w/{batch} && for i in $(seq 30); do : > $i; sleep 0.01; done"
            run = await vm.start(command)
            while f"/tmp/w/{batch}/30" not in told:
                with contextlib.suppress(asyncio.TimeoutError):
                    told.append((await asyncio.wait_for(changes.__anext__(), patience)).path)
            await run.wait()
        expected = [[f"/tmp/w/{batch}", *(f"/tmp/w/{batch}/{i}" for i in range(1, 31))] for batch in range(4)]
        assert [sorted(told[at : at + 31]) for at in range(0, len(told), 31)] == [sorted(paths) for paths in expected]
        assert await _sessions(vm) <= before + 1  # another program may just take over
        await vm.run("rm -r /tmp/w")
        left = [event.path async for event in changes]
        assert (left[-1], left.count("/tmp/w/3/30")) == ("/tmp/w", 1)
    created = [
        each for each in emulator.journal.requests() if each.operation == "create_session" and each.vm_id == vm.id
    ]
    assert len(created) > 4
    assert await _sessions(vm) < before


@pytest.mark.usefixtures("soon")
async def test_a_watch_is_closed_while_another_program_takes_over(vm: AsyncVM) -> None:
    await vm.files.mkdir("/tmp/w")
    for seconds in (0.0, 0.05, 0.1, 0.2, 0.4):
        async with vm.files.watch("/tmp/w", interval=0.01) as changes:
            before = await _sessions(vm)
            await vm.run("cd /tmp/w; for i in $(seq 100); do : > $i; done; rm *")
            for _ in range(200):
                await changes.__anext__()
            reader = asyncio.ensure_future(changes.__anext__())
            await asyncio.sleep(seconds)
        with pytest.raises(StopAsyncIteration):
            await reader
        assert await _sessions(vm) < before


@pytest.mark.usefixtures("soon")
async def test_a_program_without_a_successor_goes_on(vm: AsyncVM, monkeypatch: pytest.MonkeyPatch) -> None:
    await vm.files.mkdir("/tmp/w")
    async with vm.files.watch("/tmp/w", interval=0.1) as changes:
        monkeypatch.setattr(watching, "_INOTIFY", "raise SystemExit(1)")
        await vm.run("cd /tmp/w; for i in $(seq 100); do : > $i; done; rm *")
        assert len([await changes.__anext__() for _ in range(200)]) == 200
        await vm.run("rmdir /tmp/w")
        assert [event.path async for event in changes] == ["/tmp/w"]


async def _polled(vm: AsyncVM) -> None:
    await vm.files.mkdir("/tmp/w", parents=True, exist_ok=True)
    await vm.files.stat("/tmp/w")
    tools = own_sessions(vm._place).tools  # pyright: ignore[reportPrivateUsage]
    assert tools is not None
    own_sessions(vm._place).tools = tools - {"python3"}  # pyright: ignore[reportPrivateUsage]


async def test_lists_are_compared_for_callers_with_little_patience(vm: AsyncVM) -> None:
    await _polled(vm)
    async with vm.files.watch("/tmp/w", interval=1) as changes:
        assert changes.method == "polling"
        await vm.files.write_text("/tmp/w/a", "1")
        paths: list[str] = []
        for _ in range(30):
            with contextlib.suppress(asyncio.TimeoutError):
                paths.append((await asyncio.wait_for(changes.__anext__(), 0.9)).path)
                break
        assert paths == ["/tmp/w/a"]


@pytest.mark.parametrize("method", ["inotify", "polling"])
async def test_a_watch_that_is_closed_ends_the_iteration_of_another_task(vm: AsyncVM, method: str) -> None:
    await vm.files.mkdir("/tmp/w")
    if method == "polling":
        await _polled(vm)
    await vm.files.write_text("/tmp/w/old", "was there before")

    async def paths() -> list[str]:
        return [event.path async for event in changes]

    async with vm.files.watch("/tmp/w", interval=0.2) as changes:
        assert changes.method == method
        reader = asyncio.ensure_future(paths())
        await vm.run("true")
    assert await asyncio.wait_for(reader, 60) == []


async def test_a_directory_that_cannot_be_listed_any_more_has_not_gone(vm: AsyncVM) -> None:
    await _polled(vm)
    async with vm.files.watch("/tmp/w", interval=0.01) as changes:
        if (await vm.run("id -u")).stdout_text.strip() == "0":
            pytest.skip("nothing is closed to root")
        await vm.files.chmod("/tmp/w", 0)
        with pytest.raises(RemotePermissionError):
            await changes.__anext__()
        await vm.files.chmod("/tmp/w", 0o755)
        await vm.files.rmdir("/tmp/w")
        assert [event async for event in changes] == []


@pytest.mark.parametrize("durable", [False, True])
async def test_a_server_that_is_started_anew_ends_the_watch(durable: bool) -> None:
    with new_place() as place:
        options = partial(EmulatorOptions, state=place / "state", state_parent=place)
        first = ForkedEmulator(options())
        async with AsyncExitStack() as stack:
            async with first:
                client = await stack.enter_async_context(AsyncArker(**first.client_options, ledger=False))
                vm = await client.fork("ubuntu", durable=durable)
                await vm.files.mkdir("/tmp/w")
                changes = vm.files.watch("/tmp/w", interval=0.1)
                port, key = urlsplit(first.url).port or 0, first.api_key
                await changes.__aenter__()
                await vm.files.write_text("/tmp/w/a", "")
                assert (await changes.__anext__()).path == "/tmp/w/a"
            await stack.enter_async_context(ForkedEmulator(options(port=port, api_key=key)))
            stack.push_async_exit(changes)
            with pytest.raises(RunFailedError, match="watch it again"):
                _ = [event async for event in changes]
        remove_state_dir(place / "state")
