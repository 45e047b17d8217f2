"""`AsyncFleet.map`: outcomes as they come or in order, and items that are drawn lazily."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest import mock

import pytest

from arker import (
    AsyncFleet,
    AsyncVM,
    FleetProgress,
    InvalidArgumentError,
)
from tests.fleet.support import Gates, echo
from tests.support.waiting import some_turns

pytestmark = pytest.mark.anyio


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
    await some_turns()
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


async def test_a_function_that_does_not_take_both(fleet: AsyncFleet) -> None:
    async def of_one(_vm: AsyncVM) -> None: ...

    async def of_three(_vm: AsyncVM, _item: int, more: int) -> int:
        return more

    async def named(*, vm: AsyncVM, item: int) -> None: ...

    for function in (of_one, of_three, named):
        wrong: Any = function
        with pytest.raises(InvalidArgumentError, match="function of a VM and an item: it is called with both"):
            fleet.map(wrong, [1])

    class NoSignature:
        __signature__ = "unknown"

        async def __call__(self, _vm: AsyncVM, item: int) -> int:
            return item

    right = (functools.partial(of_three, more=3), NoSignature(), mock.AsyncMock(return_value=3))
    values = [outcome.unwrap() for each in right async for outcome in fleet.map(each, [3])]
    assert values == [3, 3, 3]


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
        await some_turns()
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
    await some_turns()
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
    assert (told[0].total, told[-1].done, told[-1].total) == (None, 4, 4)
    assert [each.total for each in told].count(None) + [each.total for each in told].count(4) == len(told) == 6


class Aborted(BaseException):
    """What is no `Exception`, as pytest's ``fail()`` raises it."""


@pytest.mark.parametrize("kind", [Aborted, SystemExit, KeyboardInterrupt])
async def test_what_is_no_exception_ends_the_iteration(fleet: AsyncFleet, kind: type[BaseException]) -> None:
    async def function(vm: AsyncVM, item: int) -> int:
        if item == 3:
            raise kind("the function's own")
        return item

    def items() -> Iterator[int]:
        yield 0
        raise kind("the iterator's own")

    with pytest.raises(kind, match="the function's own"):
        _ = [outcome async for outcome in fleet.map(function, range(20))]
    with pytest.raises(kind, match="the iterator's own"):
        _ = [outcome async for outcome in fleet.map(function, items())]
    assert len([outcome async for outcome in fleet.map(function, range(3))]) == 3
