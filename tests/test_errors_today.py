"""Errors of generation 1: their classes, what they say, and capacity that is waited for."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import evolve

from arker import (
    AsyncArker,
    CapacityUnavailableError,
    ConflictError,
    OperationFailedError,
    QuotaExceededError,
    RateLimitedError,
    Recovery,
    RetryPolicy,
    UnavailableError,
    UnrecoverableError,
)
from arker._protocol.retryable import is_error_code
from arker.errors.choice import api_error_class
from tests.support.clients import make_client
from tests.support.samples import completed
from tests.support.secrets import API_KEY
from tests.support.server import Drop, Recorded, Reply, ScriptedServer, dropped, ok
from tests.support.today import VM_OF_TODAY, nested

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[AsyncArker]:
    async with make_client(server, generation="1", strict_replies=True) as client:
        yield client


CODES = [
    "bad_request",
    "insufficient_resources",
    "unauthorized",
    "forbidden",
    "not_found",
    "conflict",
    "resource_busy",
    "invalid_state",
    "already_exists",
    "idempotency_conflict",
    "expired",
    "payload_too_large",
    "method_not_allowed",
    "unsupported_operation",
    "unrecoverable",
    "capacity_unavailable",
    "unavailable",
    "internal",
    "rate_limited",
    "quota_exceeded",
    "payment_required",
    "action_required",
    "operation_failed",
    "gateway_timeout",
]


def test_every_code_has_its_class() -> None:
    assert len(CODES) == 24
    for code in CODES:
        assert is_error_code(code)
        cls = api_error_class(code, 418)
        assert cls.default_code == code
    assert api_error_class("quota_exceeded", 429) is QuotaExceededError
    assert api_error_class("x", 429) is RateLimitedError


async def test_what_an_error_says(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(
        nested(
            "operation_failed",
            "the command failed",
            status=422,
            details={"reason": "command_failed"},
            stage="image_command",
            recovery={
                "work": "stopped",
                "context": {"vm_id": "v2", "step_index": 1, "step_count": 3, "completed_steps": 1, "exit_code": 2},
            },
        )
    )
    with pytest.raises(OperationFailedError) as caught:
        await client.fork(image="python:3.12")
    error = caught.value
    assert (error.details, error.stage, error.work) == ({"reason": "command_failed"}, "image_command", "stopped")
    assert error.recovery == Recovery(
        work="stopped", vm_id="v2", step_index=1, step_count=3, completed_steps=1, exit_code=2
    )
    assert (error.request_id, error.vm_id, error.matched) == ("req-1", "v2", True)
    assert pickle.loads(pickle.dumps(error)).recovery == error.recovery
    assert len(server.requests) == 1


async def test_an_error_shows_no_key(server: ScriptedServer, client: AsyncArker) -> None:
    recovery = {"work": "stopped", "context": {"vm_id": API_KEY, "run_id": f"r{API_KEY}", "exit_code": "1"}}
    details = {API_KEY: [{"a": f"x{API_KEY}"}, 7]}
    server.script(nested("unrecoverable", API_KEY, status=422, stage=API_KEY, recovery=recovery, details=details))
    with pytest.raises(Exception, match="redacted") as caught:
        await client.get_vm("v")
    assert API_KEY not in f"{caught.value!r} {getattr(caught.value, 'recovery', None)} {vars(caught.value)}"


@pytest.mark.parametrize("recovery", [7, {}, {"work": 1}, {"work": "stopped", "context": 7}])
async def test_a_recovery_that_makes_no_sense(server: ScriptedServer, client: AsyncArker, recovery: Any) -> None:
    server.script(nested("unrecoverable", status=422, recovery=recovery, stage=7, details=7))
    with pytest.raises(UnrecoverableError) as caught:
        await client.get_vm("v")
    assert (caught.value.details, caught.value.stage) == ({}, None)


@pytest.mark.parametrize(
    ("code", "status"),
    [("already_exists", 409), ("resource_busy", 409), ("invalid_state", 409), ("idempotency_conflict", 409)],
)
async def test_conflicts_of_today_are_conflicts(
    server: ScriptedServer, client: AsyncArker, code: str, status: int
) -> None:
    server.script(nested(code, status=status))
    with pytest.raises(ConflictError) as caught:
        await client.vm("v").run("true")
    assert caught.value.code == code


async def test_a_quota_is_not_tried_again(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(nested("quota_exceeded", status=429, retry_after_seconds=0))
    with pytest.raises(QuotaExceededError):
        await client.fork("ubuntu")
    assert len(server.requests) == 1


@pytest.mark.parametrize("work", ["stopped", "continuing", "unknown", "not_started"])
async def test_the_work_decides_whether_to_try_again(server: ScriptedServer, client: AsyncArker, work: str) -> None:
    refusal = nested("unavailable", status=503, retry_after_seconds=0, recovery={"work": work})
    vm = client.vm("v")
    if work == "not_started":
        server.script(refusal, ok({"session_id": "s", "state": "idle", "cwd": "/"}))
        assert (await vm.create_session()).session_id == "s"
        return
    server.script(refusal)
    with pytest.raises(UnavailableError) as caught:
        await vm.create_session()
    assert (caught.value.work, caught.value.outcome) == (work, "unknown")


async def test_the_body_says_when_to_try_again(server: ScriptedServer) -> None:
    async with make_client(
        server, generation="1", retry=RetryPolicy(base_delay=60, max_delay=60), strict_replies=True
    ) as client:
        server.script(nested("rate_limited", status=429, retry_after_seconds=0), ok(VM_OF_TODAY))
        await asyncio.wait_for(client.get_vm("v"), 20)


async def test_queueing_repeats_with_the_seconds_that_are_left(server: ScriptedServer, client: AsyncArker) -> None:
    lacking = nested("capacity_unavailable", status=503, details={"scope": "region"})

    def slow(_: Recorded) -> Reply:
        return Reply(status=lacking.status, body=lacking.body, delay=1.1)

    server.script(slow, *[lacking] * 6, ok(VM_OF_TODAY))
    began = time.monotonic()
    await client.fork("ubuntu", queueing_timeout=300, memory_mib=64)
    taken = time.monotonic() - began
    bodies = [request.json for request in server.requests]
    given, *left = [body["queueing_timeout"] for body in bodies]
    assert given == 300
    assert all(300 - taken <= seconds <= 299 for seconds in left), (left, taken)
    assert left == sorted(left, reverse=True)
    assert all(body["resources"] == {"memory_mib": 64} for body in bodies)
    assert len({request.key for request in server.requests}) == 1


@pytest.mark.parametrize("answer", [dropped(Drop.AFTER_PROCESSING), nested("gateway_timeout", status=504)])
async def test_what_may_have_been_taken_is_repeated_as_it_was(
    server: ScriptedServer, client: AsyncArker, answer: Reply
) -> None:
    lacking = nested("capacity_unavailable", status=503, details={"scope": "region"})
    server.script(evolve(answer, delay=1.1), lacking, ok(completed()))
    await client.vm("v").run("true", queueing_timeout=30)
    assert [request.json["queueing_timeout"] for request in server.requests] == [30, 30, 30]
    assert len({request.key for request in server.requests}) == 1


async def test_queueing_ends(server: ScriptedServer, client: AsyncArker) -> None:
    server.answer(nested("capacity_unavailable", status=503, retry_after_seconds=2))
    with pytest.raises(CapacityUnavailableError) as caught:
        await client.vm("v").run("true", queueing_timeout=1)
    assert len(server.requests) == 1
    assert caught.value.retry_after == 2
    with pytest.raises(CapacityUnavailableError):
        await client.fork("ubuntu", queueing_timeout=0)
    assert len(server.requests) == 2


async def test_without_retries_nothing_is_repeated(server: ScriptedServer) -> None:
    async with make_client(server, generation="1", retry=False) as client:
        server.script(nested("capacity_unavailable", status=503, retry_after_seconds=0))
        with pytest.raises(CapacityUnavailableError):
            await client.vm("v").run("true", queueing_timeout=30)
