"""Fleets of real VMs, a hundred and fewer: all gone afterwards, whatever becomes of the program and the VMs."""

from __future__ import annotations

import asyncio
import mmap
import random
from pathlib import Path

import anyio
import pytest

from arker import AsyncArker, AsyncFleet, AsyncVM, FleetError, FleetProgress, UnsupportedOperationError
from arker.emulator import Emulator
from tests.support.cloud import when
from tests.support.interruption import Interruption
from tests.support.length import times

pytestmark = pytest.mark.anyio

VMS = 100
FEWER = times(100, suite=30)
"""Where it is not their number that matters."""


@pytest.fixture(autouse=True)
async def nothing_is_left(ar: AsyncArker) -> None:
    """Check that each test begins without VMs. The test itself checks what it leaves."""
    assert await left(ar) == set()


async def left(ar: AsyncArker) -> set[str]:
    return {vm.vm_id for vm in await ar.list_vms(limit=1000)}


async def square(vm: AsyncVM, number: int) -> int:
    return int((await vm.run(f"echo $(({number} * {number}))", check=True)).stdout_text)


async def mostly_look(vm: AsyncVM, number: int) -> int:
    """Compute the square by a command in every fifth VM only: starting a VM is what takes time."""
    return await square(vm, number) if number % 5 == 0 else (await look(vm, number)) ** 2


async def look(vm: AsyncVM, item: int) -> int:
    await vm.refresh()
    return item


async def test_a_hundred_vms(ar: AsyncArker) -> None:
    told: list[FleetProgress] = []
    async with ar.fork_many("ubuntu", VMS, progress=told.append) as fleet:
        assert {vm.id for vm in fleet} == await left(ar)
        assert len(fleet) == VMS
        outcomes = [outcome async for outcome in fleet.map(square, range(120), ordered=True, progress=told.append)]
        assert [outcome.unwrap() for outcome in outcomes] == [number * number for number in range(120)]
        assert len({outcome.vm for outcome in outcomes}) == VMS
    assert await left(ar) == set()
    for operation, total in (("fork_many", VMS), ("map", 120), ("delete", VMS)):
        assert [each.done for each in told if each.operation == operation] == list(range(total + 1))


async def test_vms_when_the_program_is_cancelled_in_the_middle(ar: AsyncArker) -> None:
    done = asyncio.Event()

    async def program() -> None:
        tell = when(lambda each: each.done == 20, done)
        async with ar.fork_many("ubuntu", FEWER) as fleet:
            async for outcome in fleet.map(mostly_look, range(10_000), progress=tell):
                outcome.unwrap()

    before = asyncio.all_tasks()
    task = asyncio.create_task(program())
    await done.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await left(ar) == set()
    assert asyncio.all_tasks() == before


async def test_vms_when_the_program_is_cancelled_while_it_forks(ar: AsyncArker) -> None:
    some = asyncio.Event()

    async def program() -> None:
        async with ar.fork_many("ubuntu", FEWER, progress=when(lambda each: each.done == 10, some)):
            raise AssertionError("it is cancelled before")

    before = asyncio.all_tasks()
    task = asyncio.create_task(program())
    await some.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await left(ar) == set()
    assert asyncio.all_tasks() == before


async def test_vms_when_a_tenth_of_the_forks_fails(emulator: Emulator, ar: AsyncArker) -> None:
    with emulator.faults.error(operation="fork", status=422, share=0.1, seed=7) as fault:
        async with ar.fork_many("ubuntu", FEWER, at_least=FEWER * 3 // 4) as fleet:
            failed = fault.refresh().fired
            assert 1 <= failed <= FEWER // 4
            assert len(fleet) == FEWER - failed
            assert len(fleet.failures) == failed
            assert {type(each) for each in fleet.failures} == {UnsupportedOperationError}
            assert {vm.id for vm in fleet} == await left(ar)
            assert [outcome.unwrap() async for outcome in fleet.map(square, [7] * 5)] == [49] * 5
        assert await left(ar) == set()
        with pytest.raises(FleetError) as caught:
            async with ar.fork_many("ubuntu", FEWER):
                raise AssertionError("there is no fleet")
    assert {type(each) for each in caught.value.errors} == {UnsupportedOperationError}
    assert caught.value.vm_ids == ()
    assert await left(ar) == set()


async def test_forks_whose_replies_are_lost_leave_nothing(emulator: Emulator, ar: AsyncArker) -> None:
    with emulator.faults.close(operation="fork", moment="after", share=0.2, seed=3):
        async with ar.fork_many("ubuntu", 30) as fleet:
            assert {vm.id for vm in fleet} == await left(ar)
            assert len(fleet) == 30
    assert await left(ar) == set()


async def test_vms_when_a_tenth_is_deleted_under_it(ar: AsyncArker) -> None:
    async with ar.fork_many("ubuntu", FEWER) as fleet:
        victims = random.Random(5).sample(fleet.vms, FEWER // 10)

        async def delete_under_it() -> None:
            for victim in victims:
                await victim.delete()
                await asyncio.sleep(0.02)

        killer = asyncio.create_task(delete_under_it())
        outcomes = [outcome async for outcome in fleet.map(mostly_look, range(150))]
        await killer
        assert sorted(outcome.item for outcome in outcomes) == list(range(150))
        assert all(outcome.unwrap() == outcome.item**2 for outcome in outcomes)
        # One that was deleted after its last item is found out by the next.
        assert all([outcome.ok async for outcome in fleet.map(look, range(FEWER))])
        assert len(fleet) == FEWER
        assert not set(victims) & set(fleet)
        assert {vm.id for vm in fleet} == await left(ar)
    assert await left(ar) == set()


@pytest.mark.parametrize("check", [True, False])
async def test_a_vm_that_is_deleted_in_the_middle_of_a_run(ar: AsyncArker, check: bool) -> None:
    """Whether the function heeds the run's failure or not."""
    async with ar.fork_many("ubuntu", 2) as fleet:
        first = fleet.vms[0]

        async def once(vm: AsyncVM, item: int) -> str:
            command = "echo begun; sleep 60" if vm is first else "echo done"
            return (await vm.run(command, check=check)).stdout_text

        async def delete_it() -> None:
            while not (await first.list_runs(state="running")).runs:
                await asyncio.sleep(0.01)
            await first.delete()

        deletion = asyncio.create_task(delete_it())
        outcomes = [outcome async for outcome in fleet.map(once, range(2), ordered=True)]
        await deletion
        assert [outcome.unwrap() for outcome in outcomes] == ["done\n"] * 2
        assert sorted(outcome.tries for outcome in outcomes) == [1, 2]
        assert first not in fleet
    assert await left(ar) == set()


async def test_a_fleet_of_a_prepared_vm(ar: AsyncArker, tmp_path: Path) -> None:
    (tmp_path / "program").write_text("#!/bin/sh\necho from here\n")
    async with await ar.fork("ubuntu") as base:
        await base.run("echo prepared > state", check=True)
        async with ar.fork_many(base, 3) as fleet:
            uploads = await fleet.upload(tmp_path / "program", "bin/program", mode=0o755)
            assert [outcome.unwrap().size for outcome in uploads] == [25] * 3
            outcomes = await fleet.run("cat state; bin/program", check=True)
            assert [outcome.unwrap().stdout_text for outcome in outcomes] == ["prepared\nfrom here\n"] * 3
            await fleet.vms[1].delete()
            outcomes = await fleet.run("cat state", check=True)
            assert [outcome.unwrap().stdout_text for outcome in outcomes] == ["prepared\n"] * 3
            with mmap.mmap(-1, 3) as mapped:
                mapped.write(b"yes")
                assert [outcome.unwrap().size for outcome in await fleet.upload(mapped, "file")] == [3] * 3
            assert {outcome.unwrap().stdout for outcome in await fleet.run("cat file")} == {b"yes"}
    assert await left(ar) == set()


async def work_with_a_fleet(client: AsyncArker) -> None:
    async with client.fork_many("ubuntu", 2) as fleet:
        async for outcome in fleet.map(look, range(3)):
            outcome.unwrap()


async def test_cancelled_at_every_suspension(emulator: Emulator, ar: AsyncArker) -> None:
    tasks_before = asyncio.all_tasks()
    cancelled = at = 0
    with anyio.fail_after(600):
        async with AsyncArker(**emulator.client_options) as client:
            await work_with_a_fleet(client)
            while True:
                at += 1
                interruption: Interruption[None] = Interruption(at)
                cancelled += await interruption.of(lambda: work_with_a_fleet(client))
                assert await left(ar) == set()
                assert asyncio.all_tasks() == tasks_before
                if not interruption.happened:
                    break
    assert cancelled > 10
    assert isinstance(client.fork_many("ubuntu", 1), AsyncFleet)
