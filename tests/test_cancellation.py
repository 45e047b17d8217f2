"""Cancellations, deadlines and the end of a client, at moments when something else happens as well."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

import anyio
import pytest

from arker import (
    ArkerError,
    AsyncArker,
    AsyncVM,
    ConfigurationError,
    Hooks,
    HttpTimeouts,
    RequestEvent,
    VMGoneError,
)
from arker._protocol.request import Flow
from arker._transport.limiter import Limiter
from arker._transport.liveness import watched
from arker._transport.window import Window
from arker.emulator import Emulator
from tests.support.forked import ForkedEmulator
from tests.support.samples import completed
from tests.support.waiting import PATIENCE, longer_and_longer, some_turns, until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with ForkedEmulator() as emulator:
        yield emulator


@pytest.fixture
async def ar(emulator: Emulator) -> AsyncIterator[AsyncArker]:
    async with AsyncArker(**emulator.client_options) as ar:
        yield ar
    emulator.faults.clear()
    await emulator.areset()
    emulator.journal.clear()


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


@pytest.mark.parametrize("pace", ["steady", "a piece after each silence"])
async def test_a_large_reply_that_comes_slowly_is_no_silence(pace: str) -> None:
    """The VM is idle all the time while the reply of its run is on its way: nothing is lost, so nothing is repeated."""
    result = {**completed(), "stdout": "x" * (2000 if pace == "steady" else 500)}
    posts = 0
    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal posts
        handlers.append(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                posts += head.startswith(b"POST")
                body = json.dumps(result if head.startswith(b"POST") else {"vm_id": "v", "state": "idle"}).encode()
                if not head.startswith(b"POST"):
                    asked.set()
                    await some_turns()  # in which the next piece goes out, before this answer
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
                for start in range(0, len(body), 100):
                    writer.write(body[start : start + 100])
                    await writer.drain()
                    if head.startswith(b"POST") and pace == "steady":
                        await asyncio.sleep(0.03)
                    elif head.startswith(b"POST") and start + 100 < len(body):
                        asked.clear()
                        await asked.wait()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    handlers: list[asyncio.Task[Any] | None] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with AsyncArker("key", base_url=url, timeout=HttpTimeouts(silence=0.1)) as client:
        assert (await client.vm("v").run("make")).stdout_text == result["stdout"]
    assert posts == 1
    await asyncio.gather(*(task for task in handlers if task is not None))
    server.close()
    await server.wait_closed()


ORDERS = pytest.mark.parametrize("verdict_first", [True, False], ids=["the verdict first", "the verdict last"])


async def waiting(verdict: asyncio.Event) -> None:
    """Watched silence that ends when the verdict comes."""

    async def probe(_: bool) -> None:
        await verdict.wait()
        raise VMGoneError("gone")

    await watched(asyncio.Event().wait(), probe, 0.001, Flow())


@ORDERS
async def test_a_cancellation_and_a_verdict_in_one_turn(verdict_first: bool) -> None:
    """No cancellation is lost, whatever happens at the same time."""
    verdict = asyncio.Event()
    task = asyncio.create_task(waiting(verdict))
    await asyncio.sleep(0.05)
    loop = asyncio.get_running_loop()
    verdict.set()  # the probe goes on in the next turn
    if verdict_first:
        loop.call_soon(task.cancel)
    else:
        task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


@ORDERS
async def test_a_deadline_and_a_verdict_in_one_turn(verdict_first: bool) -> None:
    """Either of the two is what is raised, and the task is as it was."""
    verdict = asyncio.Event()
    scopes: list[anyio.CancelScope] = []

    async def program() -> str:
        ended = "by the deadline"
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            try:
                await waiting(verdict)
            except VMGoneError:
                ended = "by the verdict"
        await asyncio.sleep(0)  # what is left of a cancellation would come up here
        return ended

    task = asyncio.create_task(program())
    await asyncio.sleep(0.05)
    verdict.set()
    if verdict_first:
        asyncio.get_running_loop().call_soon(scopes[0].cancel)
    else:
        scopes[0].cancel()
    await asyncio.wait({task})
    assert task.result() in ("by the deadline", "by the verdict")


def test_a_place_of_a_loop_that_was_closed_under_its_waiters_is_free_again() -> None:
    limiter = Limiter(Window(1))
    loop = asyncio.new_event_loop()
    assert limiter.try_enter(False)
    waiters = [limiter.enter(False, limiter.number()) for _ in range(3)]
    tasks = [loop.create_task(waiter) for waiter in waiters]
    loop.run_until_complete(asyncio.sleep(0))
    assert limiter.queued == 3
    limiter.leave(False)  # the first has the place, and will never know
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is what this is about
    loop.close()
    for waiter in waiters:
        waiter.close()
    assert limiter.queued == 0
    assert limiter.in_flight == 0
    assert limiter.try_enter(False)


def test_a_loop_that_was_closed_before_its_waiters_were_admitted() -> None:
    limiter = Limiter(Window(1))
    loop = asyncio.new_event_loop()
    assert limiter.try_enter(False)
    waiter = limiter.enter(False, limiter.number())
    task = loop.create_task(waiter)
    loop.run_until_complete(asyncio.sleep(0))
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is what this is about
    loop.close()
    limiter.leave(False)
    assert limiter.in_flight == 0
    waiter.close()
    assert limiter.in_flight == 0
    assert limiter.try_enter(False)


async def failing(task: asyncio.Task[Any]) -> ArkerError:
    with anyio.fail_after(PATIENCE):
        await asyncio.wait({task})
    error = task.exception()
    assert isinstance(error, ArkerError)
    return error


async def test_a_client_that_is_closed_amid_runs_and_those_who_wait_for_their_turn(
    emulator: Emulator, ar: AsyncArker
) -> None:
    vm = await ar.fork("ubuntu")
    client = AsyncArker(**emulator.client_options, max_connections=1)
    first = asyncio.create_task(client.vm(vm.id).run("sleep 600"))
    while not emulator.journal.executions():
        await asyncio.sleep(0.01)
    others = [asyncio.create_task(client.vm(vm.id).run("echo")) for _ in range(3)]
    await asyncio.sleep(0)
    await client.aclose()
    error = await failing(first)
    assert error.outcome == "unknown"
    assert error.idempotency_key == emulator.journal.executions()[0].idempotency_key
    for other in others:
        assert (await failing(other)).outcome == "not_started"
    assert len(emulator.journal.executions()) == 1


async def closed_amid_a_fork(
    emulator: Emulator, seconds: float, *, cancel: bool = False
) -> tuple[asyncio.Task[AsyncVM], bool]:
    """Close a client whose fork is answered so many seconds later. Return the task, once it has ended, and whether it
    was going on when it was cancelled.
    """
    emulator.journal.clear()
    client = AsyncArker(**emulator.client_options)
    with emulator.faults.delay(operation="fork", seconds=seconds, processed=True):
        task = asyncio.create_task(client.fork("ubuntu"))
        await until(emulator.journal.forks)
        is_amid = cancel and task.cancel()
        await asyncio.sleep(0)
        await client.aclose()
    await asyncio.wait({task})
    return task, is_amid


async def test_a_client_that_is_closed_amid_a_fork(emulator: Emulator, ar: AsyncArker) -> None:
    """Closing waits for the fork, and its VM is deleted."""
    longer = longer_and_longer(0.1)
    while True:
        task, _ = await closed_amid_a_fork(emulator, next(longer))
        if task.exception() is not None:
            break
        await ar.vm(task.result().id).delete()  # the answer came before the closing
    error = await failing(task)
    assert (type(error), error.outcome) == (ConfigurationError, "not_started")
    assert [fork.idempotency_key for fork in emulator.journal.forks()] == [error.idempotency_key]
    assert len(await ar.list_vms()) == 0


async def test_a_client_that_is_closed_amid_the_end_of_a_cancelled_fork(
    emulator: Emulator, ar: AsyncArker, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing it waits for that."""
    longer = longer_and_longer(0.1)
    while True:
        task, is_amid = await closed_amid_a_fork(emulator, next(longer), cancel=True)
        if is_amid:
            break
        await ar.vm(task.result().id).delete()  # the answer came before the cancellation
    assert task.cancelled()
    assert len(emulator.journal.forks()) == 1
    assert not await ar.list_vms()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


if sys.version_info >= (3, 12):

    @pytest.fixture
    async def eager() -> AsyncIterator[None]:
        """Tasks begin where they are made, not in the loop's next turn."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        yield
        loop.set_task_factory(None)

    @pytest.mark.usefixtures("eager")
    @pytest.mark.parametrize("turns", range(0, 60, 4))
    async def test_tasks_that_begin_at_once(emulator: Emulator, ar: AsyncArker, turns: int) -> None:
        made: list[AsyncVM] = []

        async def program(client: AsyncArker) -> None:
            vm = await client.fork("ubuntu", deadline=30)
            made.append(vm)
            # One that is cancelled must not have ended before, however long the loop's turns take.
            assert (await vm.run("sleep 600" if turns else "sleep 0.1; echo hi")).stdout == b"hi\n"

        async with AsyncArker(**emulator.client_options, timeout=HttpTimeouts(silence=0.01)) as client:
            task = asyncio.create_task(program(client))
            for _ in range(turns):
                await asyncio.sleep(0)
            if turns:
                task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                await task
        assert task.cancelled() == bool(turns)
        assert await left(emulator, ar) == {vm.id for vm in made}
