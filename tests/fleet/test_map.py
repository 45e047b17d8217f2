"""`AsyncFleet.map`: outcomes as they come or in order, items drawn lazily, iterations that are left early."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from arker import (
    AsyncArker,
    AsyncFleet,
    AsyncVM,
    DeadlineExceededError,
    FleetError,
    FleetOutcome,
    FleetProgress,
    InvalidArgumentError,
)
from arker import _fleet_pool as pool
from arker import _fleet_work as work
from tests.support.cloud import Cloud

pytestmark = pytest.mark.anyio


@pytest.fixture
async def fleet(client: AsyncArker, cloud: Cloud) -> AsyncIterator[AsyncFleet]:
    """Three VMs."""
    async with client.fork_many("ubuntu", 3) as fleet:
        yield fleet
    assert not cloud.living
    assert not [task for task in asyncio.all_tasks() if "arker" in repr(task.get_coro())]


async def echo(vm: AsyncVM, item: int) -> str:
    return (await vm.run(f"echo {item}")).stdout_text.strip()


class Gates:
    """A function whose calls wait until they are told to go on."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.vms: list[AsyncVM] = []
        self.ended: list[int] = []
        self._gates: dict[int, asyncio.Event] = {}
        self._news = asyncio.Event()

    async def __call__(self, vm: AsyncVM, item: int) -> int:
        self._gates[item] = asyncio.Event()
        self.begun.append(item)
        self.vms.append(vm)
        self._news.set()
        try:
            await self._gates[item].wait()
        finally:
            self.ended.append(item)
        return item * 10

    def open(self, *items: int) -> None:
        for item in items:
            self._gates[item].set()

    async def wait_for(self, count: int) -> None:
        """Until so many have begun."""
        while len(self.begun) < count:
            self._news.clear()
            await self._news.wait()


async def some_steps() -> None:
    """Let everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_outcomes(fleet: AsyncFleet) -> None:
    outcomes = [outcome async for outcome in fleet.map(echo, range(20))]
    assert sorted(outcome.index for outcome in outcomes) == list(range(20))
    for outcome in outcomes:
        assert outcome.ok
        assert outcome.index == outcome.item
        assert outcome.unwrap() == outcome.value == f"echo {outcome.item}"
        assert outcome.vm in fleet
        assert outcome.seconds > 0
        assert outcome.tries == 1
    assert len({outcome.vm for outcome in outcomes}) == 3


async def test_as_they_come(fleet: AsyncFleet) -> None:
    gates = Gates()
    outcomes = fleet.map(gates, range(3))
    first = asyncio.ensure_future(anext(outcomes))
    await gates.wait_for(3)
    gates.open(2)
    assert (await first).value == 20
    gates.open(0)
    assert (await anext(outcomes)).value == 0
    gates.open(1)
    assert [outcome.value async for outcome in outcomes] == [10]
    assert [outcome async for outcome in outcomes] == []


async def test_in_order(fleet: AsyncFleet) -> None:
    gates = Gates()
    outcomes = fleet.map(gates, range(3), ordered=True)
    first = asyncio.ensure_future(anext(outcomes))
    await gates.wait_for(3)
    gates.open(2, 1)
    await some_steps()
    assert not first.done()
    gates.open(0)
    assert (await first).item == 0
    assert [outcome.item async for outcome in outcomes] == [1, 2]


async def test_one_item_in_a_vm_at_a_time(fleet: AsyncFleet) -> None:
    """Also when several maps go on at once."""
    inside: set[AsyncVM] = set()
    most = 0

    async def check(vm: AsyncVM, item: int) -> None:
        nonlocal most
        assert vm not in inside
        inside.add(vm)
        most = max(most, len(inside))
        await vm.run("x")
        inside.remove(vm)

    async def drain() -> int:
        return len([outcome.unwrap() async for outcome in fleet.map(check, range(10))])

    assert list(await asyncio.gather(drain(), drain(), drain())) == [10, 10, 10]
    assert most == 3


async def test_an_exception_is_an_outcome(fleet: AsyncFleet) -> None:
    async def divide(vm: AsyncVM, item: int) -> float:
        return 1 / item

    def refuse(vm: AsyncVM, item: int) -> Any:
        raise KeyError(item)

    outcomes = [outcome async for outcome in fleet.map(divide, [0, 1, 2], ordered=True)]
    assert [outcome.value for outcome in outcomes] == [None, 1.0, 0.5]
    assert [outcome.ok for outcome in outcomes] == [False, True, True]
    assert type(outcomes[0].error) is ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        outcomes[0].unwrap()
    assert [type(outcome.error) async for outcome in fleet.map(refuse, [1])] == [KeyError]
    assert len(fleet) == 3


async def test_fewer_items_than_vms_and_none(fleet: AsyncFleet) -> None:
    assert [outcome.value async for outcome in fleet.map(echo, [7])] == ["echo 7"]
    nothing: list[int] = []
    assert [outcome.value async for outcome in fleet.map(echo, nothing)] == []
    assert [outcome.value async for outcome in fleet.map(echo, iter(nothing))] == []


# --- items -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ordered", "bound"), [(False, 6), (True, 12)])
async def test_items_are_drawn_as_outcomes_are_taken(fleet: AsyncFleet, ordered: bool, bound: int) -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for item in itertools.count():
            drawn.append(item)
            yield item

    async def identity(vm: AsyncVM, item: int) -> int:
        return item

    outcomes = fleet.map(identity, items(), ordered=ordered)
    assert not drawn
    for taken in range(1, 30):
        await anext(outcomes)
        await some_steps()
        assert len(drawn) == taken + bound


async def test_asynchronous_items(fleet: AsyncFleet) -> None:
    going = 0

    async def items() -> AsyncIterator[int]:
        nonlocal going
        for item in range(20):
            going += 1
            await asyncio.sleep(0)
            assert going == 1, "one is drawn at a time"
            going -= 1
            yield item

    outcomes = [outcome async for outcome in fleet.map(echo, items(), ordered=True)]
    assert [outcome.value for outcome in outcomes] == [f"echo {item}" for item in range(20)]


async def test_a_slow_source_holds_back_one_vm_only(fleet: AsyncFleet) -> None:
    never = asyncio.Event()

    async def items() -> AsyncIterator[int]:
        await never.wait()
        yield 1

    slow = asyncio.ensure_future(anext(fleet.map(echo, items())))
    await some_steps()
    used = {outcome.vm async for outcome in fleet.map(echo, range(10))}
    assert len(used) == 2
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow


@pytest.mark.parametrize("ordered", [True, False])
async def test_items_that_fail(fleet: AsyncFleet, ordered: bool) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ZeroDivisionError

    came: list[int] = []
    outcomes = fleet.map(echo, items(), ordered=ordered)

    async def take() -> None:
        async for outcome in outcomes:
            came.append(outcome.item)

    with pytest.raises(ZeroDivisionError):
        await take()
    assert sorted(came) == list(range(5))
    assert [outcome async for outcome in outcomes] == []
    assert len([outcome async for outcome in fleet.map(echo, range(9))]) == 9


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"function": None}, "function"),
        ({"items": 7}, "items"),
        ({"ordered": 1}, "ordered"),
        ({"retries": -1}, "retries"),
        ({"retries": True}, "retries"),
        ({"item_deadline": 0}, "item_deadline"),
        ({"progress": 7}, "progress"),
    ],
)
async def test_wrong_arguments(fleet: AsyncFleet, arguments: dict[str, Any], argument: str) -> None:
    given: dict[str, Any] = {"function": echo, "items": [1], **arguments}
    with pytest.raises(InvalidArgumentError) as caught:
        fleet.map(**given)
    assert caught.value.argument == argument


async def test_an_ordinary_function(fleet: AsyncFleet) -> None:
    def ordinary(vm: AsyncVM, item: int) -> int:
        return item

    wrong: Any = ordinary
    outcomes: AsyncIterator[object] = fleet.map(wrong, range(10))
    with pytest.raises(InvalidArgumentError, match="expected a coroutine function"):
        await anext(outcomes)
    assert len([outcome async for outcome in fleet.map(echo, range(9))]) == 9


async def test_progress(fleet: AsyncFleet) -> None:
    async def odd(vm: AsyncVM, item: int) -> None:
        assert item % 2

    told: list[FleetProgress] = []
    assert len([outcome async for outcome in fleet.map(odd, range(4), progress=told.append)]) == 4
    assert {(each.operation, each.total, each.vms) for each in told} == {("map", 4, 3)}
    assert [each.done for each in told] == [0, 1, 2, 3, 4]
    assert (told[0].failed, told[-1].failed) == (0, 2)
    told.clear()
    assert len([outcome async for outcome in fleet.map(odd, iter(range(4)), progress=told.append)]) == 4
    assert {each.total for each in told} == {None}


# --- left early ------------------------------------------------------------------------------------------------------


async def test_a_break_cancels_what_is_going_on(fleet: AsyncFleet) -> None:
    gates = Gates()

    async def quick_first(vm: AsyncVM, item: int) -> int:
        return item if item == 0 else await gates(vm, item)

    async for outcome in fleet.map(quick_first, itertools.count()):
        assert outcome.item == 0
        await gates.wait_for(3)
        break
    gc.collect()
    await some_steps()
    assert sorted(gates.ended) == gates.begun == [1, 2, 3]


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
    release.set()
    with pytest.raises(StopAsyncIteration):
        await waiting


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
