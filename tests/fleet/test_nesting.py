"""Functions of a fleet's maps that map in the same fleet, and so wait for VMs beside their own."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from arker import AsyncArker, AsyncFleet, AsyncVM, ConfigurationError, FleetOutcome
from tests.fleet.support import echo, killing
from tests.support.cloud import Cloud
from tests.support.server import error
from tests.support.waiting import some_turns

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("gathered", [False, True], ids=["awaited", "gathered"])
async def test_a_function_that_waits_for_its_own_fleet(fleet: AsyncFleet, gathered: bool) -> None:
    async def inner() -> list[str]:
        return [outcome.unwrap() async for outcome in fleet.map(echo, range(2))]

    async def outer(_vm: AsyncVM, _item: int) -> list[str]:
        return (await asyncio.gather(inner()))[0] if gathered else await inner()

    assert [outcome.value async for outcome in fleet.map(outer, [0])] == [["echo 0", "echo 1"]]  # two others are free

    started = 0
    all_started = asyncio.Event()

    async def together(vm: AsyncVM, item: int) -> list[str]:
        nonlocal started
        started += 1
        if started == 3:
            all_started.set()
        await all_started.wait()
        return await outer(vm, item)

    with anyio.fail_after(30):
        outcomes = [outcome async for outcome in fleet.map(together, range(3))]
    errors = [outcome.error for outcome in outcomes if not outcome.ok]
    assert len(errors) == 1  # its VM lets the others go on
    assert isinstance(errors[0], ConfigurationError)
    assert "waits for a VM of the same fleet" in str(errors[0])
    assert len([outcome async for outcome in fleet.map(echo, range(6))]) == len(fleet) * 2 == 6


async def test_the_only_vm_after_a_replacement(client: AsyncArker, cloud: Cloud) -> None:
    async with client.fork_many("ubuntu", 1) as fleet:

        async def endless(_vm: AsyncVM, _item: int) -> None:
            await asyncio.Event().wait()

        async def outer(_vm: AsyncVM, _item: int) -> list[str]:
            return [outcome.unwrap() async for outcome in fleet.map(echo, range(2))]

        assert not (await anext(fleet.map(endless, [0], item_deadline=0.01))).ok
        with anyio.fail_after(30):
            outcome = await anext(fleet.map(outer, [0]))
    assert isinstance(outcome.error, ConfigurationError)
    assert not cloud.living


async def test_what_an_earlier_item_has_begun_may_wait(client: AsyncArker, cloud: Cloud) -> None:
    """The same worker has the only VM for its next item, which does not wait for it."""
    async with client.fork_many("ubuntu", 1) as fleet:
        second = asyncio.Event()
        begun: list[asyncio.Task[list[str]]] = []

        async def inner() -> list[str]:
            await second.wait()
            return [outcome.unwrap() async for outcome in fleet.map(echo, range(2))]

        async def outer(vm: AsyncVM, item: int) -> str:
            if item == 0:
                begun.append(asyncio.create_task(inner()))
            else:
                second.set()
                await some_turns()
            return await echo(vm, item)

        with anyio.fail_after(30):
            assert [outcome.unwrap() async for outcome in fleet.map(outer, range(2))] == ["echo 0", "echo 1"]
            assert await begun[0] == ["echo 0", "echo 1"]
    assert not cloud.living


@pytest.mark.parametrize("replace", [False, True], ids=["not replaced", "the fork fails"])
async def test_a_wait_that_a_death_makes_endless(client: AsyncArker, cloud: Cloud, replace: bool) -> None:
    """The VM that a function waits for dies, and all others have functions that wait."""
    cloud.on_run = killing(cloud, "echo 1")
    cloud.on_fork = lambda number: error("forbidden", status=403) if number == 2 else None
    async with client.fork_many("ubuntu", 2, replace=replace) as fleet:

        async def outer(vm: AsyncVM, item: int) -> list[str]:
            if item == 1:
                await some_turns()
                return [await echo(vm, item)]
            return [outcome.unwrap() async for outcome in fleet.map(echo, [7])]

        outcomes: list[FleetOutcome[AsyncVM, int, list[str]]] = []
        with anyio.fail_after(30):
            outcomes += [outcome async for outcome in fleet.map(outer, range(2), retries=0, ordered=True)]
    assert isinstance(outcomes[0].error, ConfigurationError)
    assert outcomes[1].error is not None
    assert len(cloud.forked) == 2
    assert not cloud.living


async def test_an_item_that_finds_no_vm_after_a_death(client: AsyncArker, cloud: Cloud) -> None:
    """Its outcome is told, although the work of others keeps it from being tried again."""
    cloud.on_run = killing(cloud, "echo 7")
    async with client.fork_many("ubuntu", 2, replace=False) as fleet:
        told: list[Exception | None] = []

        async def outer(_vm: AsyncVM, item: int) -> None:
            async for outcome in fleet.map(echo, [7]):
                told.append(outcome.error)

        with anyio.fail_after(30):
            (outcome,) = [outcome async for outcome in fleet.map(outer, [0])]
    assert isinstance(outcome.error, ConfigurationError)
    assert len(told) == 1
    assert not cloud.living
