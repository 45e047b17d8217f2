"""Iterators that are closed, or asked again, amid a step: by another thread, a callback, or a function at work."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest

from arker import ConfigurationError, FleetProgress, InvalidArgumentError
from arker_sync import VM, Arker, Items
from arker_sync._bridge.callbacks import relay
from arker_sync._bridge.lease import Lease
from arker_sync._bridge.worker import Worker
from tests.support.waiting import PATIENCE, block_until


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Source:
    """Async iterators whose second item never comes."""

    def __init__(self, callback: Callable[[str], object] | None = None) -> None:
        self._callback = callback
        self.waits = threading.Event()
        self.closed = threading.Event()

    async def generator(self) -> AsyncIterator[int]:
        try:
            yield 1
            self.waits.set()
            if self._callback is not None:
                self._callback("waits")
            await asyncio.get_running_loop().create_future()
        finally:
            self.closed.set()


def test_another_thread_closes_it_amid_a_step(lease: Lease) -> None:
    source = Source()
    items = Items(source.generator(), lease, int)
    found: list[int] = []
    reader = threading.Thread(target=lambda: found.extend(items), daemon=True)
    reader.start()
    assert source.waits.wait(timeout=PATIENCE)
    items.close()
    assert source.closed.is_set()
    reader.join(timeout=PATIENCE)
    assert not reader.is_alive()
    assert found == [1]
    items.close()
    assert list(items) == []


def test_a_callback_of_a_step_closes_it(lease: Lease) -> None:
    def stop(_: str) -> None:
        items.close()

    source = Source(relay("progress", stop))
    items: Items[int] = Items(source.generator(), lease, int)
    assert within_bounds(lambda: list(items)) == [1]
    assert source.closed.is_set()


def test_a_callback_of_a_step_that_asks_for_an_item_gets_an_error(lease: Lease) -> None:
    told: list[BaseException] = []

    def ask(_: str) -> None:
        with pytest.raises(ConfigurationError, match="wait for itself") as caught:
            next(items)
        told.append(caught.value)
        items.close()

    items: Items[int] = Items(Source(relay("progress", ask)).generator(), lease, int)
    assert within_bounds(lambda: list(items)) == [1]
    assert len(told) == 1


def test_the_outcomes_of_a_fleet_are_closed_by_its_callbacks_and_functions(blocking: Arker) -> None:
    def late(vm: VM, item: int) -> int | None:
        return vm.run("sleep 60" if item else "true").exit_code

    with blocking.fork_many("ubuntu", 2) as fleet:

        def stop(progress: FleetProgress) -> None:
            if progress.done:
                by_callback.close()

        by_callback: Any = fleet.map(late, range(4), progress=stop)
        assert len(within_bounds(lambda: list(by_callback))) <= 1

        def found(vm: VM, item: int) -> int | None:
            if item == 0:
                by_function.close()
            return vm.run("sleep 60").exit_code

        by_function: Any = fleet.map(found, range(4))
        assert within_bounds(lambda: list(by_function)) == []
        assert [outcome.value for outcome in fleet.map(late, [0, 0])] == [0, 0]


@pytest.mark.usefixtures("no_collection")
def test_a_generator_that_the_loop_s_thread_destroys_ends_its_blocks(blocking: Arker, lease: Lease) -> None:
    source = Source()

    def held(holder: list[object]) -> Iterator[str]:
        with (
            blocking.fork("ubuntu") as vm,
            vm.open_session() as session,
            Items(source.generator(), lease, int) as items,
        ):
            holder.append(items)
            yield f"{session.id} {next(items)}"

    def leave_it() -> None:
        holder: list[object] = []
        holder.append(held(holder))
        next(cast("Iterator[str]", holder[0]))

    leave_it()

    async def collect() -> None:
        gc.collect()

    lease.call(collect())
    assert source.closed.wait(timeout=PATIENCE)
    block_until(lambda: not blocking.list_vms())


def test_a_function_whose_calls_are_cancelled_closes_it(lease: Lease) -> None:
    source = Source()
    items = Items(source.generator(), lease, int)
    assert next(items) == 1
    worker = Worker()
    worker.cancel()
    # It is cancelled at its next await, if it has not ended before.
    with contextlib.suppress(asyncio.CancelledError):
        worker.do(items.close)()
    block_until(source.closed.is_set)
    assert list(items) == []


def within_bounds(work: Callable[[], list[Any]]) -> list[Any]:
    """Do it in a thread, which a test that fails leaves waiting."""
    results: list[list[Any]] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    block_until(lambda: not thread.is_alive())
    return results[0]


# --- functions that would have to be awaited --------------------------------------------------------------------------


async def awaited(*_: object) -> int:
    return 1


def test_coroutine_functions_are_refused(blocking: Arker) -> None:
    with blocking.fork("ubuntu") as vm, pytest.raises(InvalidArgumentError, match=r"^progress=.* an ordinary function"):
        vm.upload(b"data", "file", progress=awaited)
    with blocking.fork_many("ubuntu", 1) as fleet:
        with pytest.raises(InvalidArgumentError, match=r"^function=.* an ordinary function"):
            fleet.map(awaited, [1])
        with pytest.raises(InvalidArgumentError, match=r"^progress=.* an ordinary function"):
            fleet.map(lambda vm, item: item, [1], progress=awaited)
        (outcome,) = fleet.map(lambda vm, item: awaited(vm, item), [1])
        assert isinstance(outcome.error, InvalidArgumentError)
        assert outcome.value is None
