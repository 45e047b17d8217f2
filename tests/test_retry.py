"""What is tried again over a real connection, and what the errors say afterwards (contract, sections 3 and 8)."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Final

import anyio
import pytest

from arker import (
    ApiError,
    ArkerError,
    AsyncArker,
    AsyncVM,
    BadReplyError,
    ConflictError,
    HttpTimeouts,
    InternalError,
    NetworkError,
    NetworkTimeoutError,
    NotFoundError,
    RateLimitedError,
    RetryPolicy,
    UnavailableError,
)
from tests.support.clients import make_client
from tests.support.samples import completed
from tests.support.server import Drop, Recorded, Reply, ScriptedServer, closed_port, dropped, error, ok
from tests.support.waiting import longer_and_longer

pytestmark = pytest.mark.anyio

FILE = {"path": "/f", "size": 2, "content": "hi", "encoding": "utf-8"}
WRITTEN = {"results": [{"path": "/f", "size": 2, "complete": True, "written": True}]}

BUSY = [
    *(error("whatever", status=status) for status in (429, 502, 503, 504)),
    *(Reply(status=status, body=b"<html>busy</html>") for status in (429, 502, 503, 504)),
    *(error(code, status=400) for code in ("routing_unavailable", "unavailable", "temporarily_unavailable")),
    error("unavailable", status=200),
    *(
        error("internal", message, status=500)
        for message in ("got 503", "Service Unavailable", "throttle", "SlowDown", "ThrottlingException")
    ),
    ok({"error": {"code": "unavailable", "message": "legacy"}}, status=400),
]

FINAL = [
    *(error("whatever", status=status) for status in (400, 401, 403, 404, 409, 413, 422, 500, 501)),
    error("bad_request", "503", status=400),
    error("internal", "boom", status=500),
    error("resource_pressure", status=200),
    Reply(status=500, body=b"plain"),
]

Operation = Callable[[AsyncArker], Awaitable[object]]

OPERATIONS: dict[str, tuple[Operation, object]] = {
    "fork": (lambda ar: ar.fork("ubuntu"), {"vm_id": "v"}),
    "get_vm": (lambda ar: ar.get_vm("v"), {"vm_id": "v"}),
    "list_vms": (lambda ar: ar.list_vms(), {"vms": []}),
    "vm.delete": (lambda ar: ar.vm("v").delete(), {"deleted": True}),
    "vm.run": (lambda ar: ar.vm("v").run("true"), completed()),
    "vm.run in the background": (lambda ar: ar.vm("v").run("true", background=True), {"run_id": "r"}),
    "vm.get_run": (lambda ar: ar.vm("v").get_run("r"), {**completed(), "state": "completed", "started_at": "t"}),
    "vm.list_runs": (lambda ar: ar.vm("v").list_runs(), {"runs": []}),
    "vm.cancel_run": (lambda ar: ar.vm("v").cancel_run("r"), {"cancelled": True}),
    "vm.sync, reading": (lambda ar: ar.vm("v").sync("/f"), FILE),
    "vm.sync, writing": (lambda ar: ar.vm("v").sync("/f", b"hi"), WRITTEN),
}
every_operation = pytest.mark.parametrize("name", OPERATIONS)


async def failing(work: Awaitable[object]) -> ArkerError:
    with pytest.raises(ArkerError) as caught:
        await work
    return caught.value


@pytest.mark.parametrize("busy", BUSY, ids=[f"{reply.status} {reply.body[:60]!r}" for reply in BUSY])
async def test_busy_answers_are_tried_again(server: ScriptedServer, vm: AsyncVM, busy: Reply) -> None:
    server.script(busy, busy, busy, ok(completed()))
    assert (await vm.run("true")).stdout == b"hi\n"
    assert len(server.requests) == 4
    assert len({request.key for request in server.requests}) == 1
    assert len({request.body for request in server.requests}) == 1


@pytest.mark.parametrize("final", FINAL, ids=[f"{reply.status} {reply.body[:60]!r}" for reply in FINAL])
async def test_other_answers_are_not(server: ScriptedServer, vm: AsyncVM, final: Reply) -> None:
    server.script(final)
    raised = await failing(vm.run("true"))
    assert isinstance(raised, ApiError)
    assert (raised.status, raised.attempts, len(server.requests)) == (final.status, 1, 1)


@every_operation
async def test_every_operation_is_tried_again_when_busy(server: ScriptedServer, client: AsyncArker, name: str) -> None:
    call, reply = OPERATIONS[name]
    server.script(error("unavailable", status=503), error("unavailable", status=503), ok(reply))
    await call(client)
    first, *others = server.requests
    for other in others:
        assert (other.method, other.target, other.body, other.key) == (
            first.method,
            first.target,
            first.body,
            first.key,
        )


@every_operation
@pytest.mark.parametrize("drop", [Drop.BEFORE_READING, Drop.AFTER_PROCESSING, Drop.RESET, Drop.MID_BODY])
async def test_every_operation_survives_lost_connections(
    server: ScriptedServer, client: AsyncArker, name: str, drop: Drop
) -> None:
    """Reads, deletions, files, and what carries a key: all that this client has may be repeated."""
    call, reply = OPERATIONS[name]
    server.script(dropped(drop), dropped(drop), ok(reply))
    await call(client)
    assert len(server.requests) == 3
    assert len({(request.method, request.target, request.key) for request in server.requests}) == 1


@every_operation
async def test_the_attempts_run_out(server: ScriptedServer, client: AsyncArker, name: str) -> None:
    call, _ = OPERATIONS[name]
    server.answer(dropped(Drop.AFTER_PROCESSING))
    raised = await failing(call(client))
    assert type(raised) is NetworkError
    assert (raised.code, raised.status, raised.attempts, len(server.requests)) == ("network_error", 0, 4, 4)
    assert raised.operation is not None
    assert name.startswith(raised.operation)
    changes_nothing = server.last.method == "GET" or name.endswith("reading")
    assert raised.outcome == ("not_started" if changes_nothing else "unknown")
    assert raised.idempotency_key == server.last.key


@every_operation
async def test_no_retry(server: ScriptedServer, name: str) -> None:
    call, _ = OPERATIONS[name]
    async with make_client(server, retry=False) as client:
        server.script(error("unavailable", status=503), dropped(Drop.AFTER_PROCESSING), dropped(Drop.RESET))
        for kind in (UnavailableError, NetworkError, NetworkError):
            raised = await failing(call(client))
            assert type(raised) is kind
            assert raised.attempts == 1
    assert len(server.requests) == 3


async def test_a_policy_as_a_mapping(server: ScriptedServer) -> None:
    async with make_client(server, retry={"attempts": 2, "base_delay": 0.0, "jitter": 0.0}) as client:
        server.answer(error("unavailable", status=503))
        assert (await failing(client.get_vm("v"))).attempts == len(server.requests) == 2


async def test_nothing_listens() -> None:
    async with AsyncArker("k", base_url=f"http://127.0.0.1:{closed_port()}", retry={"base_delay": 0}) as client:
        raised = await failing(client.fork("ubuntu"))
    assert type(raised) is NetworkError
    assert raised.message.startswith("cannot connect to http://127.0.0.1:")
    assert (raised.attempts, raised.outcome) == (4, "not_started")


TWICE: Final = RetryPolicy(attempts=2, base_delay=0)


async def test_silence(server: ScriptedServer) -> None:
    """A server that says nothing is given up on, except where it works on a run in the foreground."""
    server.answer(lambda request: ok({}, delay=600) if request.method == "GET" else ok(completed(), delay=0.15))
    async with make_client(server, timeout=HttpTimeouts(idle=0.05), retry=TWICE) as client:
        raised = await failing(client.get_vm("v"))
        assert type(raised) is NetworkTimeoutError
        assert isinstance(raised, TimeoutError)
        assert (raised.attempts, raised.outcome, raised.code) == (2, "not_started", "network_error")
        assert (await client.vm("v").run("sleep 1")).exit_code == 0
    assert [request.method for request in server.requests].count("POST") == 1


async def test_what_was_silent_is_asked_again_by_the_same_key(server: ScriptedServer) -> None:
    for idle in longer_and_longer(0.05):
        keys: list[str | None] = []

        def answer(request: Recorded, keys: list[str | None] = keys) -> Reply:
            keys.append(request.key)
            return ok({"run_id": "r"}, delay=600 if len(keys) == 1 else 0.0)

        server.answer(answer)
        async with make_client(server, timeout=HttpTimeouts(idle=idle), retry=TWICE) as client:
            with contextlib.suppress(NetworkTimeoutError):  # the machine was too busy to answer in time
                assert (await client.vm("v").run("true", background=True)).run_id == "r"
                if len(keys) == 2:
                    break
    assert keys[0] == keys[1] is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nBad Header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_what_is_no_http(server: ScriptedServer, vm: AsyncVM, raw: bytes) -> None:
    server.script(Reply(raw=raw), Reply(raw=raw), ok(completed()))
    await vm.run("true")
    server.answer(Reply(raw=raw))
    raised = await failing(vm.run("true"))
    assert type(raised) is NetworkError
    assert (raised.attempts, raised.outcome) == (4, "unknown")


async def test_attempts_are_not_hidden(server: ScriptedServer, client: AsyncArker) -> None:
    """The HTTP library repeats some requests by itself on a connection that was kept; here every one counts."""
    server.script(ok({"vm_id": "v"}), dropped(Drop.AFTER_PROCESSING), ok({"vm_id": "v"}))
    vm = await client.get_vm("v")
    await vm.refresh()
    assert [request.connection for request in server.requests] == [1, 1, 2]
    server.requests.clear()
    async with make_client(server, retry=False) as single:
        for name in ("get_vm", "vm.delete", "fork", "vm.run"):
            server.script(ok({"vm_id": "v"}), dropped(Drop.AFTER_PROCESSING))
            await single.get_vm("v")
            raised = await failing(OPERATIONS[name][0](single))
            assert raised.attempts == 1
            assert len(server.requests) == 2
            assert server.requests[0].connection == server.requests[1].connection
            server.requests.clear()


# --- idempotency keys ------------------------------------------------------------------------------------------------


async def test_every_call_has_a_key_of_its_own(server: ScriptedServer, client: AsyncArker) -> None:
    server.answer(lambda request: ok({"vm_id": "v"} if request.path.endswith("/fork") else completed()))
    vm = await client.fork("ubuntu")
    await client.fork("ubuntu")
    await vm.run("true")
    await vm.run("true")
    keys = [request.key for request in server.requests]
    assert len(set(keys)) == 4
    assert all(key is not None and 16 <= len(key) <= 255 and key.isascii() for key in keys)


async def test_a_callers_key(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(error("unavailable", status=503), ok({"vm_id": "v"}), error("conflict", "key of run-7", status=409))
    vm = await client.fork("ubuntu", idempotency_key="my-fork")
    raised = await failing(vm.run("true", idempotency_key="my-run"))
    assert [request.key for request in server.requests] == ["my-fork", "my-fork", "my-run"]
    assert isinstance(raised, ConflictError)
    assert raised.idempotency_key == "my-run"
    assert "run-7" in str(raised)


@pytest.mark.parametrize("name", ["get_vm", "list_vms", "vm.delete", "vm.get_run", "vm.cancel_run", "vm.sync, reading"])
async def test_what_needs_no_key_has_none(server: ScriptedServer, client: AsyncArker, name: str) -> None:
    call, reply = OPERATIONS[name]
    server.script(ok(reply))
    await call(client)
    assert server.last.key is None


# --- DELETE ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lost",
    [
        dropped(Drop.AFTER_PROCESSING),
        dropped(Drop.MID_BODY),
        error("internal", "x", status=502),
        error("unavailable", status=503),
    ],
)
async def test_a_deletion_that_is_repeated_may_find_nothing(server: ScriptedServer, vm: AsyncVM, lost: Reply) -> None:
    server.script(lost, error("not_found", status=404))
    assert (await vm.delete()).deleted is True
    server.script(lost, error("not_found", status=404))
    assert (await vm.cancel_run("r")).cancelled is True


async def test_a_deletion_that_finds_nothing_at_first(server: ScriptedServer, vm: AsyncVM) -> None:
    for delete in (vm.delete, lambda: vm.cancel_run("r")):
        server.script(error("not_found", status=404))
        raised = await failing(delete())
        assert isinstance(raised, NotFoundError)
        assert (raised.attempts, raised.outcome) == (1, "not_started")


async def test_only_a_deletion_takes_not_found_for_success(server: ScriptedServer, client: AsyncArker) -> None:
    for name in ("get_vm", "vm.run", "fork", "vm.sync, writing"):
        server.script(dropped(Drop.AFTER_PROCESSING), error("not_found", status=404))
        if name == "vm.run":  # it may be the VM that has gone since, which is asked for
            server.script(ok({"vm_id": "v"}))
        if name == "vm.sync, writing":  # a command would say what is missing
            server.script(error("forbidden", status=403))
        raised = await failing(OPERATIONS[name][0](client))
        assert type(raised) is NotFoundError


# --- Retry-After -----------------------------------------------------------------------------------------------------


async def test_retry_after_replaces_the_delay(server: ScriptedServer) -> None:
    # With the policy's own delay of 60 s this test would not end in time.
    async with make_client(server, retry={"base_delay": 60.0, "max_delay": 60.0}) as client:
        past = format_datetime(datetime.now(timezone.utc) - timedelta(hours=1), usegmt=True)
        server.script(
            error("unavailable", status=503, Retry_After="0"),
            error("whatever", status=429, Retry_After="0.01"),
            error("unavailable", status=503, Retry_After=past),
            ok({"vm_id": "v"}),
        )
        with anyio.fail_after(10):
            await client.get_vm("v")


async def test_retry_after_beyond_the_bound_is_raised_at_once(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(error("whatever", status=429, Retry_After="61", X_Request_Id="req-9"))
    raised = await failing(client.get_vm("v"))
    assert type(raised) is RateLimitedError
    assert (raised.retry_after, raised.attempts, raised.request_id) == (61.0, 1, "req-9")
    tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
    server.script(error("unavailable", status=503, Retry_After=format_datetime(tomorrow, usegmt=True)))
    raised = await failing(client.get_vm("v"))
    assert raised.retry_after is not None
    assert 80_000 < raised.retry_after <= 86_400


async def test_retry_after_on_the_last_attempt_is_on_the_error(server: ScriptedServer, client: AsyncArker) -> None:
    server.answer(error("unavailable", status=503, Retry_After="0"))
    raised = await failing(client.get_vm("v"))
    assert (raised.retry_after, raised.attempts) == (0.0, 4)


# --- what is known afterwards ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replies", "kind", "outcome"),
    [
        ([error("bad_request", status=400)], ApiError, "not_started"),
        ([error("unavailable", status=503)] * 4, UnavailableError, "not_started"),
        ([error("whatever", status=429)] * 4, RateLimitedError, "not_started"),
        ([error("not_implemented", status=501)], ApiError, "unknown"),
        ([error("internal", status=500)], InternalError, "unknown"),
        ([error("internal", status=504)] * 4, InternalError, "unknown"),
        ([dropped(Drop.AFTER_PROCESSING)] * 4, NetworkError, "unknown"),
        ([dropped(Drop.AFTER_PROCESSING), error("conflict", status=409)], ConflictError, "unknown"),
        ([dropped(Drop.MID_BODY), *[error("unavailable", status=503)] * 3], UnavailableError, "unknown"),
        ([ok({"neither": 1})], BadReplyError, "applied"),
        ([Reply(body=b"<html>")], BadReplyError, "unknown"),
        ([Reply(status=302, headers={"Location": "/x"})], BadReplyError, "unknown"),
    ],
)
async def test_the_outcome(
    server: ScriptedServer, vm: AsyncVM, replies: list[Reply], kind: type[ArkerError], outcome: str
) -> None:
    server.script(*replies)
    raised = await failing(vm.run("true"))
    assert isinstance(raised, kind)
    assert (raised.outcome, raised.attempts) == (outcome, len(replies))
    assert raised.operation == "vm.run"
    assert raised.idempotency_key == server.last.key


async def test_a_read_has_no_effect_whatever_happens(server: ScriptedServer, client: AsyncArker) -> None:
    server.answer(dropped(Drop.AFTER_PROCESSING))
    raised = await failing(client.get_vm("v"))
    assert (raised.outcome, raised.idempotency_key) == ("not_started", None)


async def test_facts_of_an_answer_are_on_the_error(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(error("some_new_code", "what?", status=418, X_Request_Id="req-1", Retry_After="7"))
    raised = await failing(vm.run("true"))
    assert type(raised) is ApiError
    assert (raised.code, raised.message, raised.status) == ("some_new_code", "what?", 418)
    assert (raised.request_id, raised.retry_after, raised.operation) == ("req-1", 7.0, "vm.run")
    assert str(raised) == "vm.run: what? (code some_new_code, HTTP 418, VM vm-1, retry after 7 s, request req-1)"


@pytest.mark.parametrize(
    "value",
    ["Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 01 Jan 2029 00:00:00 +99999", "1_0", "nan", "inf", "-1", "x" * 5000],
)
async def test_a_retry_after_that_says_nothing(server: ScriptedServer, client: AsyncArker, value: str) -> None:
    server.script(error("unavailable", status=503, **{"Retry-After": value}), ok({"vm_id": "v"}))
    assert (await client.get_vm("v")).id == "v"
