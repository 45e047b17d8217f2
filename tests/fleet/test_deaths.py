"""VMs that die under their work: items are tried again, VMs replaced, by the policies; and commands in all VMs."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from arker import (
    AsyncArker,
    AsyncFleet,
    AsyncVM,
    BadRequestError,
    CompletedRunResult,
    DeadlineExceededError,
    FleetError,
    FleetOutcome,
    FleetProgress,
    InvalidArgumentError,
    NotFoundError,
    RunFailedError,
    VMGoneError,
)
from tests.fleet.support import echo, killing
from tests.support.cloud import Cloud
from tests.support.samples import completed
from tests.support.server import Reply, ScriptedServer, error, ok

pytestmark = pytest.mark.anyio


async def test_an_item_is_tried_again_in_a_new_vm(client: AsyncArker, cloud: Cloud) -> None:
    cloud.on_run = killing(cloud, "echo 3", "echo 7")
    async with client.fork_many("ubuntu", 4) as fleet:
        first = set(fleet)
        outcomes = [outcome async for outcome in fleet.map(echo, range(12), ordered=True)]
        assert [outcome.value for outcome in outcomes] == [f"echo {item}" for item in range(12)]
        assert [outcome.tries for outcome in outcomes] == [2 if item in (3, 7) else 1 for item in range(12)]
        assert all(outcome.vm in fleet for outcome in (outcomes[3], outcomes[7]))
        assert len(fleet) == len(cloud.living) == cloud.most == 4
        assert len(first - set(fleet)) == 2
        assert fleet.failures == ()
    assert len(cloud.forked) == 6
    assert not cloud.living


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_an_item_that_kills_each_vm(client: AsyncArker, cloud: Cloud, retries: int) -> None:
    cloud.on_run = killing(cloud, "echo 1", times=100)
    async with client.fork_many("ubuntu", 2) as fleet:
        outcomes = [outcome async for outcome in fleet.map(echo, range(3), retries=retries, ordered=True)]
        assert [outcome.ok for outcome in outcomes] == [True, False, True]
        assert type(outcomes[1].error) is NotFoundError
        assert outcomes[1].tries == retries + 1
        assert outcomes[1].vm not in fleet
        assert len(fleet) == 2
    assert not cloud.living


async def test_what_only_looks_like_a_death(client: AsyncArker, cloud: Cloud) -> None:
    async def read(vm: AsyncVM, item: int) -> bytes:
        return await vm.sync("no-such-file")

    async def look_elsewhere(vm: AsyncVM, item: int) -> None:
        await client.get_vm("another")

    async with client.fork_many("ubuntu", 2) as fleet:
        for function in (read, look_elsewhere):
            outcomes = [outcome async for outcome in fleet.map(function, range(4))]
            assert [(type(outcome.error), outcome.tries) for outcome in outcomes] == [(NotFoundError, 1)] * 4
    assert len(cloud.forked) == 2


async def test_a_death_that_the_function_wraps(client: AsyncArker, cloud: Cloud) -> None:
    cloud.on_run = killing(cloud, "echo 0")

    async def wrap(vm: AsyncVM, item: int) -> str:
        try:
            return await echo(vm, item)
        except NotFoundError as error:
            raise ValueError("what now") from error

    async with client.fork_many("ubuntu", 1) as fleet:
        (outcome,) = [outcome async for outcome in fleet.map(wrap, [0])]
        assert (outcome.value, outcome.tries) == ("echo 0", 2)


@pytest.mark.parametrize("dies", [True, False])
async def test_a_run_that_fails(client: AsyncArker, cloud: Cloud, dies: bool) -> None:
    """Its VM may have gone, or its time was up; a function that does not look is given no wrong result."""

    def on_run(vm_id: str, command: str) -> Reply:
        if dies:
            cloud.lose(vm_id)
        return ok(completed("", "", -1, state="failed", fail_reason="whatever"))

    cloud.on_run = on_run
    async with client.fork_many("ubuntu", 1) as fleet:
        (outcome,) = [outcome async for outcome in fleet.map(echo, [0], retries=1)]
        if dies:
            assert (type(outcome.error), outcome.value, outcome.tries) == (VMGoneError, None, 2)
        else:
            assert (outcome.value, outcome.tries) == ("", 1)
        cloud.on_run = lambda vm_id, command: None
        assert (await fleet.run("true"))[0].ok
    assert len(cloud.forked) == (3 if dies else 1)


async def test_whether_it_lives_cannot_be_found_out(client: AsyncArker, cloud: Cloud, server: ScriptedServer) -> None:
    async def read(vm: AsyncVM, item: int) -> bytes:
        server.script(error("not_found", "x", status=404), error("forbidden", "y", status=403))
        return await vm.sync("file")

    async with client.fork_many("ubuntu", 1) as fleet:
        (outcome,) = [outcome async for outcome in fleet.map(read, [0])]
        assert type(outcome.error) is NotFoundError
        assert len(fleet) == 1


async def test_without_replacements(client: AsyncArker, cloud: Cloud) -> None:
    cloud.on_run = killing(cloud, "echo 0", "echo 5")
    async with client.fork_many("ubuntu", 4, replace=False) as fleet:
        outcomes = [outcome async for outcome in fleet.map(echo, range(12), ordered=True)]
        assert [outcome.value for outcome in outcomes] == [f"echo {item}" for item in range(12)]
        assert outcomes[0].tries == outcomes[5].tries == 2
        assert len(fleet) == 2
    assert len(cloud.forked) == 4
    assert not cloud.living


async def test_replacements_that_fail(client: AsyncArker, cloud: Cloud) -> None:
    cloud.on_run = killing(cloud, "echo 0", "echo 5")
    cloud.on_fork = lambda number: error("bad_request", "no more", status=400) if number == 4 else None
    async with client.fork_many("ubuntu", 4) as fleet:
        outcomes = [outcome async for outcome in fleet.map(echo, range(12), ordered=True)]
        assert [outcome.value for outcome in outcomes] == [f"echo {item}" for item in range(12)]
        assert [type(each) for each in fleet.failures] == [BadRequestError]
        assert len(fleet) == 3
    assert not cloud.living


@pytest.mark.parametrize("ordered", [True, False])
async def test_none_is_left(client: AsyncArker, cloud: Cloud, ordered: bool) -> None:
    drawn = 0

    def items() -> Any:
        nonlocal drawn
        for item in range(100):
            drawn += 1
            yield item

    cloud.on_run = killing(cloud, *(f"echo {item}" for item in range(5, 100)), times=100)
    async with client.fork_many("ubuntu", 3, replace=False) as fleet:
        outcomes = fleet.map(echo, items(), ordered=ordered)
        came: list[int] = []

        async def take() -> None:
            async for outcome in outcomes:
                came.append(outcome.item)
                assert outcome.ok == (outcome.item < 5)

        with pytest.raises(FleetError, match="the fleet has no VM left"):
            await take()
        assert sorted(came) == list(range(drawn))  # what was drawn has an outcome
        assert 5 < drawn < 10
        assert len(fleet) == 0
        with pytest.raises(FleetError, match="the fleet has no VM left"):
            await anext(fleet.map(echo, [1]))
        assert await fleet.run("true") == []
    assert not cloud.living


async def test_those_who_wait_for_a_vm_hear_that_none_is_left(client: AsyncArker, cloud: Cloud) -> None:
    cloud.on_run = killing(cloud, "echo 1")
    async with client.fork_many("ubuntu", 1, replace=False) as fleet:
        maps = [fleet.map(echo, itertools.repeat(1)) for _ in range(3)]
        results = await asyncio.gather(*(anext(outcomes) for outcomes in maps), return_exceptions=True)
        assert [type(result) for result in results] == [FleetOutcome, FleetError, FleetError]
        with pytest.raises(FleetError):
            await anext(maps[0])
        for outcomes in maps:
            assert [outcome async for outcome in outcomes] == []


async def test_a_vm_that_seemed_to_have_gone_is_deleted(
    client: AsyncArker, cloud: Cloud, server: ScriptedServer
) -> None:
    async def read(vm: AsyncVM, item: int) -> bytes:
        # For the file, for a session in which a command would look at it, and for the VM itself.
        server.script(*(error("not_found", name, status=404) for name in "xyz"))
        return await vm.sync("file")

    async with client.fork_many("ubuntu", 1) as fleet:
        (outcome,) = [outcome async for outcome in fleet.map(read, [0], retries=0)]
        assert outcome.vm.id == "vm-0"
        assert cloud.living == {"vm-1"} == {vm.id for vm in fleet}


async def test_a_dead_vm_that_cannot_be_deleted_is_reported(client: AsyncArker, cloud: Cloud) -> None:
    cloud.on_run = killing(cloud, "echo 0")
    cloud.on_delete = lambda vm_id: error("forbidden", "no", status=403) if vm_id == "vm-0" else None
    with pytest.raises(FleetError) as caught:  # noqa: PT012 - the error comes at the end
        async with client.fork_many("ubuntu", 1) as fleet:
            (outcome,) = [outcome async for outcome in fleet.map(echo, [0])]
            assert outcome.value == "echo 0"
    assert caught.value.vm_ids == ("vm-0",)


async def test_no_vm_for_an_item_that_was_drawn(client: AsyncArker, cloud: Cloud) -> None:
    cloud.on_fork = lambda number: error("bad_request", "no more", status=400) if number else None

    async def hang(vm: AsyncVM, item: int) -> None:
        await asyncio.Event().wait()

    async with client.fork_many("ubuntu", 1) as fleet:
        (outcome,) = [outcome async for outcome in fleet.map(hang, [0], item_deadline=0.01)]
        assert type(outcome.error) is DeadlineExceededError
        # The VM is not used again, and there is no other.
        outcomes = fleet.map(echo, [1, 2])
        outcome_of_one = await anext(outcomes)
        assert (type(outcome_of_one.error), outcome_of_one.item, outcome_of_one.tries) == (FleetError, 1, 0)
        with pytest.raises(FleetError, match="no VM left"):
            await anext(outcomes)
    assert not cloud.living


async def test_a_kept_vm_outlives_its_replacement(client: AsyncArker, cloud: Cloud) -> None:
    async def keep_and_hang(vm: AsyncVM, item: int) -> None:
        vm.keep()
        await asyncio.Event().wait()

    async with client.fork_many("ubuntu", 1) as fleet:
        (outcome,) = [outcome async for outcome in fleet.map(keep_and_hang, [0], item_deadline=0.01)]
        assert [(each.value, each.vm.id) async for each in fleet.map(echo, [1])] == [("echo 1", "vm-1")]
    assert cloud.living == {outcome.vm.id} == {"vm-0"}


# --- in all VMs ------------------------------------------------------------------------------------------------------


async def test_a_command_in_every_vm(client: AsyncArker, cloud: Cloud, server: ScriptedServer) -> None:
    told: list[FleetProgress] = []
    async with client.fork_many("ubuntu", 5) as fleet:
        outcomes = await fleet.run(
            ["echo", "a b"], session_idx=2, timeout=9, memory_mib=64, acquire="cpu", deadline=60, progress=told.append
        )
        assert [outcome.vm for outcome in outcomes] == list(fleet)
        assert [outcome.index for outcome in outcomes] == list(range(5))
        for outcome in outcomes:
            assert type(outcome.unwrap()) is CompletedRunResult
            assert outcome.item == ["echo", "a b"]
    runs = [request for request in server.requests if request.path.endswith("/runs")]
    assert len({request.path for request in runs}) == 5
    for request in runs:
        expected = {"command": "echo 'a b'", "session_idx": 2, "timeout": 9, "memory_mib": 64, "acquire": "cpu"}
        assert request.json == expected
    assert [each.done for each in told] == [0, 1, 2, 3, 4, 5]
    assert {(each.operation, each.total, each.vms) for each in told} == {("run", 5, 5)}


async def test_a_command_that_fails_in_some(client: AsyncArker, cloud: Cloud) -> None:
    cloud.on_run = lambda vm_id, command: ok(completed("", "no\n", 1)) if vm_id == "vm-1" else None
    async with client.fork_many("ubuntu", 3, max_concurrency=1) as fleet:
        outcomes = await fleet.run("false")
        assert [outcome.unwrap().exit_code for outcome in outcomes] == [0, 1, 0]
        outcomes = await fleet.run("false", check=True)
        assert [outcome.ok for outcome in outcomes] == [True, False, True]
        assert type(outcomes[1].error) is RunFailedError


async def test_a_command_in_a_vm_that_dies(client: AsyncArker, cloud: Cloud) -> None:
    async with client.fork_many("ubuntu", 4, max_concurrency=1) as fleet:
        cloud.lose("vm-2")
        outcomes = await fleet.run("echo")
        assert [outcome.vm.id for outcome in outcomes] == ["vm-0", "vm-1", "vm-4", "vm-3"]
        assert [outcome.tries for outcome in outcomes] == [1, 1, 2, 1]
        assert all(outcome.ok for outcome in outcomes)
        # The new one works along.
        assert len({outcome.vm async for outcome in fleet.map(echo, range(40))}) == 4


async def test_a_command_in_a_vm_that_dies_without_replacement(client: AsyncArker, cloud: Cloud) -> None:
    async with client.fork_many("ubuntu", 3, max_concurrency=1, replace=False) as fleet:
        cloud.lose("vm-1")
        outcomes = await fleet.run("echo")
        assert [outcome.ok for outcome in outcomes] == [True, False, True]
        assert [vm.id for vm in fleet] == ["vm-0", "vm-2"]
        assert len({outcome.vm async for outcome in fleet.map(echo, range(9))}) == 2


async def test_a_vm_that_dies_twice_is_replaced_once(client: AsyncArker, cloud: Cloud) -> None:
    async with client.fork_many("ubuntu", 3) as fleet:
        cloud.lose("vm-1")
        await asyncio.gather(*(fleet.run("echo") for _ in range(4)))
        assert len(fleet) == 3
        assert len(cloud.forked) == 4


async def test_a_command_that_is_given_up(client: AsyncArker, cloud: Cloud) -> None:
    cloud.on_run = lambda vm_id, command: ok(completed("x"), delay=30.0) if command == "hang" else None
    async with client.fork_many("ubuntu", 3) as fleet:
        first = set(fleet)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(fleet.run("hang"), 0.2)
        # Who knows what goes on in there.
        assert not first & {outcome.vm async for outcome in fleet.map(echo, range(9))}
        assert len(fleet) == 3


async def test_the_fleet_is_left_while_a_command_runs(client: AsyncArker, cloud: Cloud) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_run(vm_id: str, command: str) -> Reply:
        loop.call_soon_threadsafe(begun.set)
        return ok(completed("x"), delay=30.0)

    cloud.on_run = on_run
    async with client.fork_many("ubuntu", 3) as fleet:
        task = asyncio.create_task(fleet.run("hang"))
        await begun.wait()
    with pytest.raises(FleetError, match="the fleet has been left"):
        await task
    assert not cloud.living


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"retries": -1}, "retries"),
        ({"progress": 1}, "progress"),
        ({"deadline": 0}, "deadline"),
        ({"command": ""}, "command"),
        ({"timeout": -1}, "timeout"),
        ({"check": 1}, "check"),
    ],
)
async def test_wrong_arguments(client: AsyncArker, cloud: Cloud, arguments: dict[str, Any], argument: str) -> None:
    async with client.fork_many("ubuntu", 1) as fleet:
        given: dict[str, Any] = {"command": "true", **arguments}
        with pytest.raises(InvalidArgumentError) as caught:
            await fleet.run(**given)
        assert caught.value.argument == argument


async def test_a_fleet_of_fleets(client: AsyncArker, cloud: Cloud) -> None:
    """A function may use fleets itself."""

    async def inner(vm: AsyncVM, item: int) -> int:
        async with client.fork_many(vm, 2) as fleet:
            return len(await fleet.run("true"))

    async with client.fork_many("ubuntu", 3) as fleet:
        assert {outcome.unwrap() async for outcome in fleet.map(inner, range(4))} == {2}
    assert isinstance(fleet, AsyncFleet)
    assert not cloud.living
