"""Cancellations, deadlines and ends of a client at moments that come by chance and hardly ever."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anyio
import pytest

from arker import ArkerError, AsyncArker, AsyncVM, Hooks, HttpTimeouts, RequestEvent, VMGoneError
from arker.emulator import Emulator

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
async def ar(emulator: Emulator) -> AsyncIterator[AsyncArker]:
    async with AsyncArker(**emulator.client_options) as ar:
        yield ar
    emulator.faults.clear()
    await emulator.areset()


def left(emulator: Emulator, ar: AsyncArker) -> Awaitable[set[str]]:
    async def ids() -> set[str]:
        return {vm.vm_id for vm in await ar.list_vms(limit=1000)}

    return ids()


async def test_a_fork_that_is_cancelled_when_its_answer_has_just_come(emulator: Emulator, ar: AsyncArker) -> None:
    """Between the end of the request and the next step of who waits for it."""

    def cancel(event: RequestEvent) -> None:
        assert event.error is None
        forking.cancel()

    async with AsyncArker(**emulator.client_options, hooks=Hooks(on_request=cancel)) as client:
        forking = asyncio.create_task(client.fork("ubuntu"))
        await asyncio.wait({forking})
    assert forking.cancelled()
    assert await left(emulator, ar) == set()


async def test_a_run_that_is_lost_in_a_task_that_was_cancelled_before(emulator: Emulator, ar: AsyncArker) -> None:
    """Work that is done while a cancellation goes on has errors of its own, and no second cancellation."""
    vm = await ar.fork("ubuntu")
    came: list[BaseException] = []

    async def program(client: AsyncArker) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await client.vm(vm.id).run("sleep 600")
            except BaseException as error:
                came.append(error)
            raise

    async with AsyncArker(**emulator.client_options, timeout=HttpTimeouts(silence=0.05)) as client:
        with emulator.faults.stall(operation="run"):
            task = asyncio.create_task(program(client))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0.02)
            await vm.delete()
            await asyncio.wait({task})
    assert task.cancelled()
    assert [type(error) for error in came] == [VMGoneError]
