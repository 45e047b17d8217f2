"""Iterators across the loop: over async ones for blocking callers, and over callers' own for the loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from arker_sync import Arker, Items
from arker_sync._bridge.callbacks import feed
from arker_sync._bridge.iterating import BlockingIterator
from arker_sync._bridge.lease import Lease
from tests.support.waiting import PATIENCE


class Numbers(AsyncIterator[int]):
    def __init__(self, end: int) -> None:
        self.next = 0
        self.end = end
        self.closed = threading.Event()

    async def __anext__(self) -> int:
        await asyncio.sleep(0)
        if self.next == self.end:
            raise StopAsyncIteration
        self.next += 1
        return self.next

    async def aclose(self) -> None:
        self.closed.set()


def test_iterators(lease: Lease) -> None:
    assert list(Items(Numbers(3), lease, str)) == ["1", "2", "3"]
    numbers = Items(Numbers(2), lease, int)
    assert [next(numbers), next(numbers), next(numbers, None), next(numbers, None)] == [1, 2, None, None]


def test_what_is_there_already_comes_by_one_way_to_the_loop(blocking: Arker, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[object] = []
    step: Any = vars(BlockingIterator)["_step"]

    async def counted(self: Any) -> Any:
        steps.append(self)
        return await step(self)

    monkeypatch.setattr(BlockingIterator, "_step", counted)
    with blocking.fork("ubuntu") as vm:
        vm.run("mkdir many && seq 2000 > many/file && seq -f many/%g 499 | xargs touch", check=True)
        run = vm.start("cat many/file")
        run.wait()
        assert [line.text for line in run.lines()] == [str(number) for number in range(1, 2001)]
        assert {entry.name for entry in vm.files.scandir("many")} == {"file", *map(str, range(1, 500))}
        assert [match.line for match in vm.files.grep("7$", "many")] == [str(number) for number in range(7, 2001, 10)]
        assert len(steps) < 30
        lines = run.lines()
        assert next(lines).text == "1"
        lines.close()
        assert list(lines) == []


def test_an_iterator_that_is_closed_or_dropped_amid_its_items(lease: Lease) -> None:
    source = Numbers(3)
    items = Items(source, lease, int)
    assert next(items) == 1
    items.close()
    assert source.closed.is_set()
    assert list(items) == []
    items.close()
    source = Numbers(3)
    for number in Items(source, lease, int):
        assert number == 1
        break
    assert source.closed.wait(timeout=PATIENCE)


def test_an_iterator_that_can_go_on_after_an_exception_does(lease: Lease) -> None:
    class Stumbling(Numbers):
        async def __anext__(self) -> int:
            number = await super().__anext__()
            if number == 2:
                raise LookupError("at two")
            return number

    items = Items(Stumbling(3), lease, int)
    assert next(items) == 1
    with pytest.raises(LookupError):
        next(items)
    assert list(items) == [3]


def test_a_generator_that_raises_is_over(lease: Lease) -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise LookupError("its own")

    items = Items(failing(), lease, int)
    assert next(items) == 1
    with pytest.raises(LookupError):
        next(items)
    assert list(items) == []


def test_threads_may_share_an_iterator(lease: Lease) -> None:
    items = Items(Numbers(200), lease, int)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.extend(items)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(found) == list(range(1, 201))


def test_what_a_caller_iterates_is_asked_in_its_thread(lease: Lease) -> None:
    def chunks() -> Iterator[bytes]:
        for number in range(3):
            assert threading.current_thread() is threading.main_thread()
            yield bytes([number])

    async def collect(source: AsyncIterator[bytes]) -> list[bytes]:
        return [chunk async for chunk in source]

    assert lease.call(collect(feed(chunks()))) == [b"\0", b"\1", b"\2"]
    assert lease.call(collect(feed(iter([b"x"])))) == [b"x"]

    def failing() -> Iterator[bytes]:
        yield b""
        raise LookupError("the caller's own")

    with pytest.raises(LookupError, match="the caller's own"):
        lease.call(collect(feed(failing())))
    for other in ("a/path", b"bytes", [b"x"], None, 7):
        assert feed(other) is other


def test_a_block_closes_them(blocking: Arker) -> None:
    with blocking.fork("ubuntu") as vm, vm.files.scandir("/etc") as entries:
        assert next(entries).name
    assert list(entries) == []
    with contextlib.closing(blocking.iter_vms()) as vms:
        pass
    assert list(vms) == []
    with (
        blocking.fork_many("ubuntu", 1) as fleet,
        fleet.map(lambda vm, item: vm.run(item), ["true", "sleep 600"]) as outcomes,
    ):
        assert next(outcomes).ok
    assert list(outcomes) == []
    refused: Any = outcomes

    async def misuse() -> None:
        async with refused:
            pass

    with pytest.raises(TypeError, match="Items takes `with`"):
        asyncio.run(misuse())
