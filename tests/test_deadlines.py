"""`deadline=` bounds a whole call: its attempts, the waiting between them, and all requests of one operation."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
import pytest

from arker import (
    ArkerError,
    AsyncVM,
    DeadlineExceededError,
    Hooks,
    NetworkError,
    RetryEvent,
    RetryPolicy,
    UnavailableError,
)
from tests.support.clients import COMPUTE, make_client
from tests.support.samples import completed
from tests.support.server import Drop, Recorded, Reply, ScriptedServer, dropped, error, ok
from tests.support.waiting import PATIENCE, put_forward, until

pytestmark = pytest.mark.anyio


async def failing(work: Awaitable[object]) -> ArkerError:
    with pytest.raises(ArkerError) as caught:
        await work
    return caught.value


async def failing_late(
    work: Coroutine[Any, Any, object], condition: Callable[[], object], seconds: float
) -> ArkerError:
    """Let a deadline of so many seconds pass when the condition holds."""
    task = asyncio.ensure_future(work)
    await until(condition)
    with pytest.MonkeyPatch.context() as patch:
        await put_forward(patch, seconds)
        with anyio.fail_after(PATIENCE):
            return await failing(task)


async def test_a_deadline_bounds_the_attempts(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(error("unavailable", status=503), ok(completed(), delay=600))
    raised = await failing_late(vm.run("true", deadline=50), lambda: len(server.requests) == 2, 50)
    assert type(raised) is DeadlineExceededError
    assert isinstance(raised, TimeoutError)
    assert (raised.code, raised.status, raised.operation) == ("deadline_exceeded", 0, "vm.run")
    # The second attempt was on its way, so the run may be going on.
    assert (raised.attempts, raised.outcome, raised.idempotency_key) == (2, "unknown", server.last.key)
    assert isinstance(raised.__cause__, UnavailableError)


async def test_a_deadline_bounds_the_waiting_between(server: ScriptedServer) -> None:
    retries: list[RetryEvent] = []
    policy = RetryPolicy(base_delay=600, max_delay=600)
    async with make_client(server, retry=policy, hooks=Hooks(on_retry=retries.append)) as client:
        vm = client.vm("v")
        server.script(error("unavailable", status=503), dropped(Drop.AFTER_PROCESSING))
        raised = await failing_late(vm.run("true", deadline=50), lambda: len(retries) == 1, 50)
        assert type(raised) is DeadlineExceededError
        assert (raised.attempts, raised.outcome) == (1, "not_started")
        raised = await failing_late(vm.run("true", deadline=50), lambda: len(retries) == 2, 50)
        assert type(raised) is DeadlineExceededError
        assert (raised.attempts, raised.outcome) == (1, "unknown")
        assert isinstance(raised.__cause__, NetworkError)


async def test_a_deadline_over_several_requests(server: ScriptedServer, vm: AsyncVM) -> None:
    def presigned(_: Recorded) -> Reply:
        return ok({"path": "/f", "size": 2, "presigned_url": f"{server.url}/o", "expires_in": 60})

    server.script(presigned, Reply(body=b"hi", delay=600))
    raised = await failing_late(vm.sync("/f", deadline=50), lambda: len(server.requests) == 2, 50)
    assert type(raised) is DeadlineExceededError
    assert (raised.attempts, raised.operation) == (2, "vm.sync")


async def test_the_cause_is_the_last_failure_of_the_whole_operation(server: ScriptedServer, vm: AsyncVM) -> None:
    def presigned(_: Recorded) -> Reply:
        return ok({"path": "/f", "size": 2, "presigned_url": f"{server.url}/o", "expires_in": 60})

    server.script(error("unavailable", status=503), presigned, Reply(body=b"hi", delay=600))
    raised = await failing_late(vm.sync("/f", deadline=50), lambda: len(server.requests) == 3, 50)
    assert type(raised) is DeadlineExceededError
    assert isinstance(raised.__cause__, UnavailableError)


async def test_the_cause_is_there_although_the_fork_was_then_answered(server: ScriptedServer) -> None:
    late = threading.Event()

    async def made(_: Recorded) -> Reply:
        while not late.is_set():
            await asyncio.sleep(0.01)
        return ok({"vm_id": "vm-1"})

    server.script(error("unavailable", status=503), made, ok({"deleted": True}))
    async with make_client(server) as client:
        forking = asyncio.ensure_future(client.fork("ubuntu", deadline=50))
        await until(lambda: len(server.requests) == 2)
        with pytest.MonkeyPatch.context() as patch:
            await put_forward(patch, 50)
            late.set()
            raised = await failing(forking)
    assert type(raised) is DeadlineExceededError
    assert (raised.attempts, raised.outcome) == (2, "not_started")
    assert isinstance(raised.__cause__, UnavailableError)
    assert server.last.method == "DELETE"


async def test_a_deadline_that_is_kept(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(error("unavailable", status=503), ok(completed()))
    assert (await vm.run("true", deadline=30)).exit_code == 0
    assert server.last.target == f"{COMPUTE}/v1/vms/vm-1/runs"
    assert "deadline" not in server.last.json


async def test_a_run_that_was_accepted_is_not_denied_by_the_deadline(server: ScriptedServer, vm: AsyncVM) -> None:
    """Wherever the deadline falls: between the reply and the caller's turn to get it, too."""
    server.answer(ok({"run_id": "run-1", "state": "running"}))
    over = False

    async def fill_the_loop() -> None:
        while not over:
            time.sleep(0.001)  # noqa: ASYNC251 - the loop is to be busy
            await asyncio.sleep(0)

    filling = asyncio.create_task(fill_the_loop())
    denied: set[str | None] = set()
    try:
        for number in range(60):
            try:
                await vm.run("true", background=True, deadline=0.01 + 0.0005 * number, idempotency_key=f"key-{number}")
            except DeadlineExceededError as raised:
                denied |= {raised.idempotency_key} if raised.outcome == "not_started" else set()
    finally:
        over = True
        await filling
    assert denied.isdisjoint(request.key for request in server.requests)
