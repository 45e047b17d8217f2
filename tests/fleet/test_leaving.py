"""Iterations of `AsyncFleet.map` that are left early, given up, bounded, or cut off by the end of their fleet."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import itertools
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from arker import (
    AsyncArker,
    AsyncFleet,
    AsyncVM,
    ConfigurationError,
    DeadlineExceededError,
    FleetError,
    FleetOutcome,
)
from arker._fleets import pool, work
from tests.fleet.support import Gates, echo
from tests.support.clients import make_client
from tests.support.cloud import Cloud
from tests.support.garbage import assert_leaves_nothing
from tests.support.server import ScriptedServer
from tests.support.waiting import some_turns, until

pytestmark = pytest.mark.anyio


async def test_a_break_cancels_what_is_going_on(fleet: AsyncFleet) -> None:
    gates = Gates()

    async def quick_first(vm: AsyncVM, item: int) -> int:
        return item if item == 0 else await gates(vm, item)

    async for outcome in fleet.map(quick_first, itertools.count()):
        assert outcome.item == 0
        await gates.wait_for(3)
        break
    gc.collect()
    await some_turns()
    assert sorted(gates.ended) == gates.begun == [1, 2, 3]


async def test_a_break_leaves_no_circle_of_references(
    client: AsyncArker, cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    async def leave_early() -> None:
        async with client.fork_many("ubuntu", 2) as fleet:
            async for _ in fleet.map(echo, itertools.count()):
                break
        await some_turns()

    # What is known of a command that was cut off stays until its VM is forgotten.
    but = {
        "arker._commands.turns.VmSessions",
        "arker._commands.turns.Turn",
        "arker._context.Place",
        "arker._context.Doubt",
    }
    await assert_leaves_nothing(leave_early, caplog, but=but)


async def test_a_fleet_keeps_its_size_however_often_iterations_are_left(fleet: AsyncFleet, cloud: Cloud) -> None:
    async def quick_first(vm: AsyncVM, item: int) -> None:
        if item:
            await asyncio.Event().wait()

    for _ in range(9):
        outcomes: Any = fleet.map(quick_first, itertools.count())
        async with contextlib.aclosing(outcomes):
            await anext(outcomes)
    await until(lambda: len(fleet) == 3)
    assert not fleet.failures
    outcomes_of_all = [outcome async for outcome in fleet.map(echo, range(3))]
    assert len({outcome.vm for outcome in outcomes_of_all}) == 3
    await until(lambda: len(cloud.living) == 3)


async def test_aclose(fleet: AsyncFleet) -> None:
    slow_to_end = asyncio.Event()

    async def function(vm: AsyncVM, item: int) -> None:
        try:
            await gates(vm, item)
        finally:
            await asyncio.sleep(0.01)
            slow_to_end.set()

    gates = Gates()
    outcomes: Any = fleet.map(function, itertools.count())
    waiting = asyncio.ensure_future(anext(outcomes))
    await gates.wait_for(3)
    await outcomes.aclose()
    assert slow_to_end.is_set()
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert [outcome async for outcome in outcomes] == []
    never_begun: Any = fleet.map(gates, itertools.count())
    await never_begun.aclose()
    assert [outcome async for outcome in never_begun] == []
    assert gates.begun == [0, 1, 2]


@pytest.mark.parametrize("at_once", [False, True] if sys.version_info >= (3, 12) else [False])
async def test_a_function_closes_the_iteration_that_it_is_a_part_of(
    fleet: AsyncFleet, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    monkeypatch.setattr(work, "CLEANUP_SECONDS", 600.0)  # more than the test waits
    if at_once and sys.version_info >= (3, 12):  # tasks begin where they are made, not in the loop's next turn
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    gates = Gates()

    async def function(vm: AsyncVM, item: int) -> None:
        if item < 2:
            await gates(vm, item)
        await gates.wait_for(2)
        await outcomes.aclose()

    outcomes: Any = fleet.map(function, itertools.count())
    assert [outcome async for outcome in outcomes] == []
    if not at_once:  # else the function has closed it before it was waited for
        assert sorted(gates.ended) == [0, 1]
    await until(lambda: sorted(gates.ended) == [0, 1])
    await until(lambda: not fleet._pool.tasks)  # pyright: ignore[reportPrivateUsage]


async def test_so_does_a_task_of_it(fleet: AsyncFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "CLEANUP_SECONDS", 600.0)  # more than the test waits

    async def function(vm: AsyncVM, item: int) -> None:
        await asyncio.create_task(outcomes.aclose())

    outcomes: Any = fleet.map(function, itertools.count())
    assert [outcome async for outcome in outcomes] == []
    await until(lambda: not fleet._pool.tasks)  # pyright: ignore[reportPrivateUsage]


async def test_and_a_function_of_another_one_within(fleet: AsyncFleet, caplog: pytest.LogCaptureFixture) -> None:
    async def within(vm: AsyncVM, item: int) -> None:
        await outcomes.aclose()

    async def function(vm: AsyncVM, item: int) -> None:
        inner: Any = fleet.map(within, [1])
        async with contextlib.aclosing(inner):
            async for _ in inner:
                pass

    outcomes: Any = fleet.map(function, [1])
    assert [outcome async for outcome in outcomes] == []
    await until(lambda: not fleet._pool.tasks)  # pyright: ignore[reportPrivateUsage]
    assert "do not end" not in caplog.text


async def test_a_function_leaves_the_fleet_that_it_works_for(
    client: AsyncArker, cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(client.fork_many("ubuntu", 2))

        async def function(vm: AsyncVM, item: int) -> None:
            await stack.aclose()

        with pytest.raises(FleetError, match="left"):
            async for _ in fleet.map(function, itertools.count()):
                pass
    await until(lambda: not cloud.living)
    assert "do not end" not in caplog.text


async def test_a_function_that_does_not_end(
    fleet: AsyncFleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(work, "CLEANUP_SECONDS", 0.05)
    release = asyncio.Event()
    begun = asyncio.Event()

    async def stubborn(vm: AsyncVM, item: int) -> None:
        begun.set()
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    outcomes: Any = fleet.map(stubborn, [1])
    waiting = asyncio.ensure_future(anext(outcomes))
    await begun.wait()
    await outcomes.aclose()
    assert "1 functions of a fleet do not end although they were cancelled" in caplog.text
    try:
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(waiting, 30)
    finally:
        release.set()


async def test_vms_in_which_something_was_cut_off_are_replaced(fleet: AsyncFleet, cloud: Cloud) -> None:
    gates = Gates()
    outcomes: Any = fleet.map(gates, range(2))
    waiting = asyncio.ensure_future(anext(outcomes))
    await gates.wait_for(2)
    await outcomes.aclose()
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert len(cloud.forked) == 3  # not before they are needed
    used = {outcome.vm async for outcome in fleet.map(echo, range(12))}
    assert not used & set(gates.vms)
    assert len(cloud.forked) == 5
    assert len(fleet) == cloud.most == 3


async def test_asking_for_an_outcome_can_be_given_up(fleet: AsyncFleet) -> None:
    gates = Gates()
    outcomes = fleet.map(gates, range(3), ordered=True)
    for _ in range(3):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(outcomes), 0.01)
    await gates.wait_for(3)
    gates.open(0, 1, 2)
    assert [outcome.value async for outcome in outcomes] == [0, 10, 20]


async def test_each_outcome_is_asked_for_in_a_task_of_its_own(fleet: AsyncFleet) -> None:
    outcomes = fleet.map(echo, range(8), ordered=True)
    came: list[FleetOutcome[AsyncVM, int, str]] = []
    with contextlib.suppress(StopAsyncIteration):
        while True:
            came.append(await asyncio.create_task(_next(outcomes)))
    assert [outcome.item for outcome in came] == list(range(8))


async def _next(
    outcomes: AsyncIterator[FleetOutcome[AsyncVM, int, str]],
) -> FleetOutcome[AsyncVM, int, str]:
    return await anext(outcomes)


async def test_outcomes_are_not_asked_for_in_another_loop(fleet: AsyncFleet) -> None:
    outcomes = fleet.map(echo, range(3))
    await anext(outcomes)
    with pytest.raises(ConfigurationError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, _next(outcomes))
    assert len([outcome async for outcome in outcomes]) == 2


async def test_several_tasks_share_the_outcomes(fleet: AsyncFleet) -> None:
    outcomes = fleet.map(echo, range(30))

    async def drain() -> list[int]:
        return [outcome.item async for outcome in outcomes]

    parts = await asyncio.gather(*(drain() for _ in range(5)))
    assert sorted(itertools.chain(*parts)) == list(range(30))


async def test_the_function_has_the_caller_s_context(fleet: AsyncFleet) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def read(vm: AsyncVM, item: int) -> str:
        return variable.get()

    variable.set("the caller's")
    outcomes = fleet.map(read, range(3))
    variable.set("later")
    assert {outcome.value async for outcome in outcomes} == {"the caller's"}


async def test_a_cancellation_by_the_function_passes(fleet: AsyncFleet) -> None:
    async def cancel(vm: AsyncVM, item: int) -> None:
        raise asyncio.CancelledError

    outcomes = fleet.map(cancel, itertools.count())
    with pytest.raises(asyncio.CancelledError):
        await anext(outcomes)
    assert [outcome async for outcome in outcomes] == []


async def test_the_fleet_is_left_while_another_task_iterates(client: AsyncArker, cloud: Cloud) -> None:
    gates = Gates()

    async def iterate(fleet: AsyncFleet) -> None:
        async for _ in fleet.map(gates, itertools.count()):
            raise AssertionError("none ends")

    async with client.fork_many("ubuntu", 3) as fleet:
        tasks = [asyncio.create_task(iterate(fleet))]
        await gates.wait_for(3)
    with pytest.raises(FleetError, match="the fleet has been left"):
        await tasks[0]
    assert sorted(gates.ended) == [0, 1, 2]
    assert not cloud.living


async def test_left_while_functions_do_not_end(
    client: AsyncArker, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool, "CLEANUP_SECONDS", 1.0)
    release = asyncio.Event()
    begun = asyncio.Event()

    async def stubborn(vm: AsyncVM, item: int) -> None:
        begun.set()
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    async with client.fork_many("ubuntu", 2) as fleet:
        waiting = asyncio.ensure_future(anext(fleet.map(stubborn, [1])))
        await begun.wait()
    assert not cloud.living
    assert "1 functions or forks of a fleet do not end although they were cancelled" in caplog.text
    release.set()
    assert (await waiting).ok


async def test_a_deadline_for_each_item(fleet: AsyncFleet, cloud: Cloud) -> None:
    gates = Gates()

    async def one_hangs(vm: AsyncVM, item: int) -> int:
        return await gates(vm, item) if item == 1 else item

    outcomes = [outcome async for outcome in fleet.map(one_hangs, range(9), item_deadline=0.3, ordered=True)]
    assert [outcome.value for outcome in outcomes] == [0, None, *range(2, 9)]
    error = outcomes[1].error
    assert type(error) is DeadlineExceededError
    assert (error.operation, error.outcome, error.vm_id) == ("fleet.map", "unknown", outcomes[1].vm.id)
    assert outcomes[1].seconds >= 0.3
    assert gates.ended == [1]
    # What was started there may go on.
    assert outcomes[1].vm not in {outcome.vm async for outcome in fleet.map(echo, range(9))}
    assert len(cloud.forked) == 4


async def test_a_function_that_ends_badly_at_its_deadline(fleet: AsyncFleet) -> None:
    async def function(vm: AsyncVM, item: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    (outcome,) = [outcome async for outcome in fleet.map(function, [1], item_deadline=0.01)]
    assert type(outcome.error) is ZeroDivisionError


async def test_what_goes_on_among_hundreds_has_ended_when_the_fleet_is_left(
    server: ScriptedServer, cloud: Cloud
) -> None:
    # Of so many, with few requests at once, the last begin a moment later than the first; those that are cancelled take
    # longer to end than that.
    begun, ended, some = list[int](), list[int](), asyncio.Event()

    async def slow_to_end(vm: AsyncVM, item: int) -> None:
        begun.append(item)
        some.set()
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.1)
            ended.append(item)

    async with make_client(server, max_connections=10) as client, client.fork_many("ubuntu", 300) as fleet:
        waiting = asyncio.ensure_future(anext(fleet.map(slow_to_end, range(300))))
        await some.wait()
    assert sorted(ended) == sorted(begun)
    assert len(begun) < 300
    with pytest.raises(FleetError):
        await waiting
    assert not cloud.living
