"""Iterables and functions of a blocking caller's in the work of a fleet: where they run, and what they raise."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from arker_sync import VM, Arker
from arker_sync._bridge.worker import current_worker
from tests.support.waiting import block_until


class Aborted(BaseException):
    """What is no `Exception`, as pytest's ``fail()`` raises it."""


def number(vm: VM, item: tuple[int]) -> int:
    return int(vm.run(f"echo {item[0]}").stdout_text)


def test_items_are_drawn_in_the_thread_that_asks_for_outcomes(blocking: Arker) -> None:
    threads: list[int] = []

    def items(rows: Iterator[tuple[int]]) -> Iterator[tuple[int]]:
        for row in rows:
            threads.append(threading.get_ident())
            yield row

    database = sqlite3.connect(":memory:")
    rows: Iterator[tuple[int]] = database.execute(
        "WITH RECURSIVE n(i) AS (VALUES(0) UNION SELECT i + 1 FROM n) SELECT i FROM n LIMIT 9"
    )
    with blocking.fork_many("ubuntu", 2) as fleet:
        found: list[int] = []
        for outcome in fleet.map(number, items(rows)):
            found.append(outcome.unwrap())
            drawn = len(threads)
            fleet.run("true")  # between two steps the others get no items
            assert len(threads) == drawn
    database.close()
    assert sorted(found) == list(range(9))
    assert threads == [threading.get_ident()] * 9


@pytest.mark.parametrize("kind", [Aborted, SystemExit, KeyboardInterrupt])
def test_what_is_no_exception_ends_the_iteration_and_nothing_else(blocking: Arker, kind: type[BaseException]) -> None:
    def function(vm: VM, item: int) -> int:
        if item == 3:
            raise kind("the function's own")
        return item

    def items() -> Iterator[int]:
        yield 0
        raise kind("the iterator's own")

    with blocking.fork_many("ubuntu", 2) as fleet:
        with pytest.raises(kind, match="the function's own"):
            _ = list(fleet.map(function, range(20)))
        with pytest.raises(kind, match="the iterator's own"):
            _ = list(fleet.map(function, items()))
        assert [outcome.unwrap() for outcome in fleet.map(function, range(3), ordered=True)] == [0, 1, 2]
        assert {outcome.unwrap().stdout for outcome in fleet.run("echo on")} == {b"on\n"}
    assert not blocking.list_vms()


# --- items that are given up ------------------------------------------------------------------------------------------


def in_a_fleet(ar: Arker, vm: VM, work: Callable[[], object]) -> None:
    with ar.fork_many("ubuntu", 2):
        work()


def in_a_vm(ar: Arker, vm: VM, work: Callable[[], object]) -> None:
    with ar.fork("ubuntu"):
        work()


def in_a_session_of_another(ar: Arker, vm: VM, work: Callable[[], object]) -> None:
    with ar.fork("ubuntu") as other, other.open_session():
        work()


def finally_deleted(ar: Arker, vm: VM, work: Callable[[], object]) -> None:
    other = ar.fork("ubuntu")
    try:
        work()
    finally:
        other.delete()


@pytest.mark.parametrize("hold", [in_a_fleet, in_a_vm, in_a_session_of_another, finally_deleted])
def test_what_a_function_holds_is_deleted_when_its_item_is_given_up(
    blocking: Arker, hold: Callable[[Arker, VM, Callable[[], object]], None]
) -> None:
    begun = threading.Event()

    def function(vm: VM, item: int) -> None:
        def work() -> None:
            begun.set()
            vm.run("sleep 600")

        if item:
            assert begun.wait(300)
        else:
            hold(blocking, vm, work)

    with blocking.fork_many("ubuntu", 2) as fleet:
        with fleet.map(function, range(2)) as outcomes:
            next(outcomes).unwrap()
        block_until(lambda: len(blocking.list_vms().vms) == 2)
    block_until(lambda: not blocking.list_vms())


def test_a_block_that_ends_after_its_item_was_given_up(blocking: Arker) -> None:
    """The function waits for no call when that happens, so that the end of the block is its next one."""
    begun = threading.Event()

    def function(vm: VM, item: int) -> None:
        if item:
            assert begun.wait(300)
            return
        worker = current_worker()
        assert worker is not None
        with blocking.fork("ubuntu"):
            begun.set()
            while not worker.cancelled:
                time.sleep(0.01)

    with blocking.fork_many("ubuntu", 2) as fleet:
        with fleet.map(function, range(2)) as outcomes:
            next(outcomes).unwrap()
        block_until(lambda: len(blocking.list_vms().vms) == 2)
    block_until(lambda: not blocking.list_vms())
