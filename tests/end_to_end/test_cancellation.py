"""Operations that are cancelled at each of their suspensions in turn: no VM, connection or task is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import anyio
import pytest

from arker import AsyncArker, AsyncVM, Hooks, NotFoundError
from arker.emulator import Emulator
from tests.support.interruption import Interruption
from tests.support.length import cases, times

pytestmark = pytest.mark.anyio

Work: TypeAlias = Callable[[AsyncArker, AsyncVM], Awaitable[object]]

LARGE = b"x" * (5 * 1024 * 1024)


async def in_a_block(client: AsyncArker, vm: AsyncVM) -> None:
    async with await client.fork("ubuntu") as child:
        await child.run("true")


OPERATIONS: dict[str, Work] = {
    "fork": lambda client, vm: client.fork("ubuntu"),
    "fork of a VM": lambda client, vm: client.fork(vm),
    "fork with a deadline": lambda client, vm: client.fork("ubuntu", deadline=30),
    "fork and use": in_a_block,
    "run": lambda client, vm: vm.run("echo hi"),
    "read": lambda client, vm: vm.sync("/etc/passwd"),
    "write": lambda client, vm: vm.sync("file", b"some"),
    "write, presigned": lambda client, vm: vm.sync("file", LARGE),
    "delete": lambda client, vm: vm.delete(),
}


def sockets() -> int:
    """Return the number of open sockets of this process."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:  # the descriptor of the listing itself
            continue
    return count


@pytest.mark.parametrize(
    ("name", "connected"),
    cases(
        [*((name, False) for name in OPERATIONS), ("fork", True), ("run", True), ("write, presigned", True)],
        rest=[(name, True) for name in OPERATIONS if name not in ("fork", "run", "write, presigned")],
    ),
)
async def test_cancelled_at_every_suspension(emulator: Emulator, ar: AsyncArker, name: str, connected: bool) -> None:
    work = OPERATIONS[name]
    tasks_before, sockets_before = asyncio.all_tasks(), sockets()
    cancelled = at = 0
    with anyio.fail_after(600):
        while True:
            at += 1
            vm = await ar.fork("ubuntu")
            async with AsyncArker(**emulator.client_options) as client:
                handle = client.vm(vm.id)
                if connected:
                    await handle.refresh()
                interruption: Interruption[object] = Interruption(at)
                cancelled += await interruption.of(partial(work, client, handle))
                assert asyncio.all_tasks() == tasks_before
                expected = {vm.id}
                if isinstance(interruption.result, AsyncVM):
                    expected.add(interruption.result.id)
                left = {each.vm_id for each in await ar.list_vms()}
                # A deletion that was cancelled may have taken place.
                assert left == expected or (name == "delete" and not left)
            assert not interruption.unfinished
            for vm_id in left:
                with contextlib.suppress(NotFoundError):  # a deletion that was cancelled is done by now
                    await ar.vm(vm_id).delete()
            if not interruption.happened:
                break
    assert cancelled
    assert asyncio.all_tasks() == tasks_before
    assert sockets() <= sockets_before + 1  # the connection of `ar` itself


@pytest.mark.parametrize("late", [0.0, 0.001, 0.004, 0.01, 0.05])
async def test_many_forks_that_are_cancelled_together(emulator: Emulator, ar: AsyncArker, late: float) -> None:
    async with AsyncArker(**emulator.client_options) as client:
        forks = [asyncio.create_task(client.fork("ubuntu")) for _ in range(times(100, suite=30))]
        await asyncio.sleep(late)
        for each in forks:
            each.cancel()
        ended = await asyncio.gather(*forks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError | AsyncVM) for each in ended)
    kept = {each.id for each in ended if isinstance(each, AsyncVM)}
    assert {each.vm_id for each in await ar.list_vms(limit=1000)} == kept


async def test_a_client_that_is_closed_while_its_forks_are_being_undone(emulator: Emulator, ar: AsyncArker) -> None:
    """`asyncio.gather` is over with the first fork that is, while the others still look after their VMs."""

    async def program() -> None:
        # Some forks have not been sent, and are undone at once.
        async with AsyncArker(**emulator.client_options, max_connections=5) as client:
            await asyncio.gather(*(client.fork("ubuntu") for _ in range(20)))

    with emulator.faults.delay(operation="fork", seconds=0.5, processed=True, times=None):
        task = asyncio.create_task(program())
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.wait({task})
    assert task.cancelled()
    assert not await ar.list_vms()


async def test_a_program_whose_loop_is_shut_down_amid_its_forks(emulator: Emulator, ar: AsyncArker) -> None:
    async def program() -> None:
        client = AsyncArker(**emulator.client_options)
        for _ in range(20):
            background.append(asyncio.create_task(client.fork("ubuntu")))
        await asyncio.sleep(0.03)
        # asyncio.run cancels what is left, the fork's own tasks too.

    background: list[asyncio.Task[AsyncVM]] = []
    await asyncio.to_thread(asyncio.run, program())
    kept = {task.result().id for task in background if not task.cancelled()}
    assert {each.vm_id for each in await ar.list_vms()} == kept


async def test_a_fork_that_is_cancelled_when_its_answer_has_just_come(emulator: Emulator, ar: AsyncArker) -> None:
    forks: list[asyncio.Task[AsyncVM]] = []
    hooks = Hooks(on_request=lambda event: event.operation == "fork" and forks[0].cancel())
    async with AsyncArker(**emulator.client_options, hooks=hooks) as client:
        forks.append(asyncio.create_task(client.fork("ubuntu")))
        with pytest.raises(asyncio.CancelledError):
            await forks[0]
        assert not await ar.list_vms()
