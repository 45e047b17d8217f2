"""What the client tells: hooks, the structured log, and which VM and run an error is about."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from arker import (
    CHUNK_SIZE,
    ArkerError,
    AsyncArker,
    AsyncVM,
    DeadlineExceededError,
    Hooks,
    InternalError,
    InvalidArgumentError,
    NetworkError,
    NotFoundError,
    RequestEvent,
    RetryEvent,
    RunFailedError,
    TransferEvent,
    UnavailableError,
)
from tests.support.clients import COMPUTE, make_client
from tests.support.samples import completed
from tests.support.secrets import API_KEY, MARK, SIGNATURE, Detector
from tests.support.server import Drop, Reply, ScriptedServer, dropped, error, ok
from tests.support.waiting import put_forward, until

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


class Notes:
    """Hooks that keep what they are told."""

    def __init__(self) -> None:
        self.requests: list[RequestEvent] = []
        self.retries: list[RetryEvent] = []
        self.transfers: list[TransferEvent] = []
        self.hooks = Hooks(
            on_request=self.requests.append, on_retry=self.retries.append, on_transfer=self.transfers.append
        )

    @property
    def done(self) -> list[int]:
        return [event.done for event in self.transfers]


@pytest.fixture
def notes() -> Notes:
    return Notes()


# --- requests and retries --------------------------------------------------------------------------------------------


async def test_every_attempt_is_told(server: ScriptedServer, notes: Notes) -> None:
    server.script(error("unavailable", status=503, X_Request_Id="r1"), ok(completed("hi"), X_Request_Id="r2"))
    before = time.time()
    async with make_client(server, hooks=notes.hooks) as client:
        await client.vm("v").run("true", idempotency_key="k")
    first, second = notes.requests
    assert (first.operation, first.method, first.url) == ("vm.run", "POST", f"{server.url}{COMPUTE}/v1/vms/v/runs")
    assert (first.attempt, first.status, first.request_id, first.cancelled) == (1, 503, "r1", False)
    assert isinstance(first.error, UnavailableError)
    assert (second.attempt, second.status, second.request_id, second.error) == (2, 200, "r2", None)
    assert first.idempotency_key == second.idempotency_key == "k"
    assert first.bytes_sent == second.bytes_sent == len(server.last.body)
    assert second.bytes_received > first.bytes_received > 0
    assert before <= first.started <= second.started <= time.time()
    assert 0 < second.seconds < 10
    (retry,) = notes.retries
    assert (retry.operation, retry.attempt, retry.error) == ("vm.run", 1, first.error)
    assert 0 < retry.delay <= 0.002


async def test_the_query_is_not_told(server: ScriptedServer, notes: Notes) -> None:
    server.script(ok({"runs": []}))
    async with make_client(server, hooks=notes.hooks) as client:
        await client.vm("v").list_runs(cursor="c")
    assert "cursor=c" in server.last.query
    assert notes.requests[0].url == f"{server.url}{COMPUTE}/v1/vms/v/runs"
    assert (notes.requests[0].bytes_sent, notes.requests[0].idempotency_key) == (0, None)


async def test_an_attempt_without_an_answer(server: ScriptedServer, notes: Notes) -> None:
    server.script(dropped(Drop.AFTER_PROCESSING))
    async with make_client(server, hooks=notes.hooks, retry=False) as client:
        with pytest.raises(NetworkError) as caught:
            await client.get_vm("v")
    (event,) = notes.requests
    assert (event.status, event.request_id, event.bytes_received) == (None, None, 0)
    assert event.error is caught.value
    assert not notes.retries


async def test_a_reply_that_does_not_fit(server: ScriptedServer, notes: Notes) -> None:
    server.script(ok({"no": "id"}, X_Request_Id="r"))
    async with make_client(server, hooks=notes.hooks) as client:
        with pytest.raises(InternalError) as caught:
            await client.get_vm("v")
    (event,) = notes.requests
    assert (event.status, event.request_id, event.error) == (200, "r", caught.value)


async def test_an_attempt_that_a_deadline_ends(
    server: ScriptedServer, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script(ok(completed(), delay=600))
    async with make_client(server, hooks=notes.hooks) as client:
        task = asyncio.ensure_future(client.vm("v").run("true", deadline=50))
        await until(lambda: server.requests)
        await put_forward(monkeypatch, 50)
        with pytest.raises(DeadlineExceededError):
            await task
    (event,) = notes.requests
    assert (event.cancelled, event.status, event.error) == (True, None, None)


async def test_an_attempt_that_a_cancellation_ends(server: ScriptedServer, notes: Notes) -> None:
    server.script(ok(completed(), delay=600))
    async with make_client(server, hooks=notes.hooks) as client:
        task = asyncio.ensure_future(client.vm("v").run("true"))
        await until(lambda: server.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [event.cancelled for event in notes.requests] == [True]


async def test_hooks_have_the_operations_context_and_task(server: ScriptedServer) -> None:
    server.script(error("unavailable", status=503), ok({"vm_id": "v"}))
    span: contextvars.ContextVar[str] = contextvars.ContextVar("span")
    seen: list[tuple[str, bool]] = []

    def look(_: object) -> None:
        seen.append((span.get(), asyncio.current_task() is task))

    async def main() -> None:
        span.set("mine")
        await client.get_vm("v")

    async with make_client(server, hooks=Hooks(on_request=look, on_retry=look)) as client:
        task = asyncio.ensure_future(main())
        await task
    assert seen == [("mine", True)] * 3


# --- transfers -------------------------------------------------------------------------------------------------------


async def test_a_download_is_told(server: ScriptedServer, other_server: ScriptedServer, notes: Notes) -> None:
    size = 3 * MIB + 5
    url = f"{other_server.url}/o?X-Signature={SIGNATURE}"
    server.script(ok({"path": "f", "size": size, "presigned_url": url, "expires_in": 9}))
    other_server.script(Reply(body=bytes(size), headers={"X-Request-Id": SIGNATURE}))
    async with make_client(server, hooks=notes.hooks) as client:
        assert await client.vm("v").sync("f") == bytes(size)
    assert all(
        (event.operation, event.vm_id, event.path, event.direction, event.total)
        == ("vm.sync", "v", "f", "download", size)
        for event in notes.transfers
    )
    assert notes.done == sorted(set(notes.done))
    assert (notes.done[0], notes.done[-1]) == (0, size)
    assert len(notes.done) >= 4
    request = notes.requests[-1]
    assert (request.method, request.url) == ("GET", f"{other_server.url}/o")
    assert (request.bytes_received, request.status, request.request_id) == (size, 200, None)


async def test_an_upload_is_told(server: ScriptedServer, other_server: ScriptedServer, notes: Notes) -> None:
    size = CHUNK_SIZE + 5
    target = {"presigned_url": f"{other_server.url}/o?X-Signature={SIGNATURE}", "upload_id": "u", "expires_in": 9}
    committed = {"path": "f", "size": size, "complete": True, "written": True, "upload_id": "u"}
    server.script(ok({"results": [target]}), ok({"results": [committed]}))
    other_server.script(ok(status=503), ok())
    async with make_client(server, hooks=notes.hooks) as client:
        await client.vm("v").sync("f", bytes(size))
    # The first attempt took all pieces and was refused; the second one began anew.
    pieces = [0, MIB, 2 * MIB, 3 * MIB, 4 * MIB]
    assert notes.done == [*pieces, *pieces, size]
    assert {(event.vm_id, event.path, event.direction, event.total) for event in notes.transfers} == {
        ("v", "f", "upload", size)
    }
    put = [event for event in notes.requests if event.method == "PUT"]
    assert [(event.status, event.bytes_sent, event.url) for event in put] == [
        (503, size, f"{other_server.url}/o"),
        (200, size, f"{other_server.url}/o"),
    ]
    assert [event.attempt for event in notes.requests] == [1, 2, 3, 4]


async def test_an_upload_has_the_operations_context(server: ScriptedServer, other_server: ScriptedServer) -> None:
    target = {"presigned_url": f"{other_server.url}/o", "upload_id": "u", "expires_in": 9}
    committed = {"path": "f", "size": 1, "complete": True, "written": True, "upload_id": "u"}
    server.script(ok({"results": [target]}), ok({"results": [committed]}))
    other_server.script(ok())
    span: contextvars.ContextVar[str] = contextvars.ContextVar("span")
    span.set("mine")
    seen: list[str] = []
    async with make_client(server, hooks=Hooks(on_transfer=lambda _: seen.append(span.get("none")))) as client:
        await client.vm("v").sync("f", bytes(CHUNK_SIZE + 1))
    assert set(seen) == {"mine"}


async def test_a_file_that_goes_inline_is_no_transfer(server: ScriptedServer, notes: Notes) -> None:
    server.script(ok({"path": "f", "size": 2, "content": "hi", "encoding": "utf-8"}))
    async with make_client(server, hooks=notes.hooks) as client:
        assert await client.vm("v").sync("f") == b"hi"
    assert not notes.transfers
    assert len(notes.requests) == 1


@pytest.mark.parametrize(
    "url", [f"http://[{SIGNATURE}", SIGNATURE, f"ftp://h/{SIGNATURE}", f"http://u:{SIGNATURE}@127.0.0.1:1/"]
)
async def test_of_what_is_no_url_nothing_is_told(server: ScriptedServer, notes: Notes, url: str) -> None:
    server.script(ok({"path": "f", "size": 5, "presigned_url": url, "expires_in": 9}))
    async with make_client(server, hooks=notes.hooks, retry=False) as client:
        with pytest.raises(ArkerError):
            await client.vm("v").sync("f")
    assert SIGNATURE not in repr(notes.requests)
    assert len(notes.requests) == 2


# --- hooks that are not right ----------------------------------------------------------------------------------------


def raising(kind: type[BaseException]) -> Callable[[object], None]:
    def hook(_: object) -> None:
        raise kind("the hook's own")

    return hook


async def lazily(_: object) -> None:
    await asyncio.sleep(0)


def starting(event: object) -> object:
    return lazily(event)


@pytest.mark.parametrize(
    "hook",
    [raising(ValueError), raising(asyncio.CancelledError), starting],
    ids=["error", "cancellation", "coroutine"],
)
async def test_a_hook_that_raises_breaks_nothing(
    server: ScriptedServer, other_server: ScriptedServer, hook: Any, caplog: pytest.LogCaptureFixture
) -> None:
    target = {"presigned_url": f"{other_server.url}/o", "upload_id": "u", "expires_in": 9}
    committed = {"path": "f", "size": 1, "complete": True, "written": True, "upload_id": "u"}
    server.script(error("unavailable", status=503), ok({"results": [target]}), ok({"results": [committed]}))
    other_server.script(ok())
    async with make_client(server, hooks=Hooks(on_request=hook, on_retry=hook, on_transfer=hook)) as client:
        await client.vm("v").sync("f", bytes(CHUNK_SIZE + 1))
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    # Once for each of the three, however often they are called.
    assert sorted(record.getMessage().split()[2] for record in warnings) == ["on_request", "on_retry", "on_transfer"]
    assert all(record.exc_info for record in warnings)


async def test_a_hook_does_not_hold_up_a_wish_to_end(server: ScriptedServer) -> None:
    """Only these are raised: a program must stay stoppable."""

    class Stop(KeyboardInterrupt):
        pass

    def stop(_: object) -> None:
        raise Stop

    server.script(ok({"vm_id": "v"}))
    async with make_client(server, hooks=Hooks(on_request=stop)) as client:
        # A KeyboardInterrupt in a task would end the loop itself, so the coroutine is stepped by hand.
        raised: BaseException | None = None
        try:
            await client.get_vm("v")
        except Stop as error:
            raised = error
        assert isinstance(raised, Stop)
        server.script(ok({"vm_id": "v"}))
        # So is the next one, since the program has gone on.
        with pytest.raises(Stop):
            await client.get_vm("v")


class Asynchronous:
    async def __call__(self, _: object) -> None:
        pytest.fail("nothing awaits it")


@pytest.mark.parametrize("name", ["on_request", "on_retry", "on_transfer"])
@pytest.mark.parametrize(
    "hook",
    [lazily, functools.partial(lazily), Asynchronous(), 7, "print"],
    ids=["coroutine function", "partial", "object", "number", "text"],
)
def test_what_is_no_ordinary_function_is_refused(name: str, hook: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"expected an? (ordinary )?function") as caught:
        Hooks(**{name: hook})
    assert caught.value.argument == name


def test_hooks_that_are_none_are_refused() -> None:
    for hooks in ({"on_request": print}, print, "hooks"):
        wrong: Any = hooks
        with pytest.raises(InvalidArgumentError, match="expected Hooks"):
            AsyncArker("k", base_url="http://127.0.0.1:1", hooks=wrong)


def test_hooks_and_events_are_frozen(notes: Notes) -> None:
    frozen: Any = notes.hooks
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        frozen.on_request = None


# --- the log ---------------------------------------------------------------------------------------------------------


def facts(caplog: pytest.LogCaptureFixture, level: int) -> list[dict[str, Any]]:
    return [getattr(record, "arker") for record in caplog.records if record.levelno == level and record.name == "arker"]  # noqa: B009


async def test_the_log_is_structured(server: ScriptedServer, vm: AsyncVM, caplog: pytest.LogCaptureFixture) -> None:
    server.script(error("unavailable", "busy", status=503, X_Request_Id="r1"), ok(completed(), X_Request_Id="r2"))
    with caplog.at_level(logging.DEBUG, "arker"):
        await vm.run("true", idempotency_key="k")
    first, second = facts(caplog, logging.DEBUG)
    (retry,) = facts(caplog, logging.INFO)
    common = {"operation": "vm.run", "method": "POST", "path": "/v1/vms/vm-1/runs", "idempotency_key": "k"}
    failure = {"error": "UnavailableError", "code": "unavailable", "outcome": "not_started", "status": 503}
    failure |= {"request_id": "r1", "vm_id": "vm-1"}
    elapsed, received, sent = first.pop("elapsed_ms"), first.pop("bytes_received"), first.pop("bytes_sent")
    assert first == {"event": "attempt", "attempt": 1, **common, **failure}
    assert 0 < elapsed < 10_000
    assert received > 0
    assert sent == len(server.last.body)
    assert second.items() >= {"event": "attempt", "attempt": 2, **common, "status": 200, "request_id": "r2"}.items()
    assert "error" not in second
    assert 0 < retry.pop("delay") <= 0.002
    assert retry == {"event": "retry", "attempt": 1, **common, **failure}
    # What formatters of JSON need.
    assert json.loads(json.dumps([first, second, retry])) == [first, second, retry]


async def test_nothing_is_computed_for_nobody(
    server: ScriptedServer, vm: AsyncVM, caplog: pytest.LogCaptureFixture
) -> None:
    server.script(error("unavailable", status=503), ok(completed()))
    with caplog.at_level(logging.INFO, "arker"):
        await vm.run("true")
    assert [record.levelno for record in caplog.records if record.name == "arker"] == [logging.INFO]


async def test_a_key_in_an_id_is_not_told(server: ScriptedServer, notes: Notes, watch: Detector) -> None:
    """A server may give a VM the very key as its id; the log, the events and the errors do not repeat it."""
    server.script(error("not_found", status=404))
    with watch.expecting() as leaks:
        async with make_client(server, hooks=notes.hooks) as client:
            vm = client.vm(API_KEY)
            with pytest.raises(NotFoundError) as caught:
                await vm.get_run(API_KEY)
    assert server.last.path.endswith(f"/{API_KEY}")
    assert (caught.value.vm_id, caught.value.run_id) == ("[redacted]", "[redacted]")
    assert MARK not in f"{vm!r}{notes.requests!r}{caught.value}"
    # What stays is the call itself, a value inside the client that is never shown.
    assert {leak.partition(":")[0] for leak in leaks} <= {"repr of Call", "repr of Request"}


# --- which VM and run an error is about ------------------------------------------------------------------------------


async def test_errors_name_their_vm_and_run(server: ScriptedServer, client: AsyncArker, vm: AsyncVM) -> None:
    server.answer(error("not_found", "none", status=404))
    for work, vm_id, run_id in (
        (vm.refresh(), "vm-1", None),
        (vm.run("x"), "vm-1", None),
        (vm.get_run("r/1"), "vm-1", "r/1"),
        (vm.cancel_run("r"), "vm-1", "r"),
        (vm.sync("f"), "vm-1", None),
        (vm.get_session("s"), "vm-1", None),
        (client.get_vm("other"), "other", None),
        (client.fork("x"), None, None),
        (client.list_vms(), None, None),
    ):
        with pytest.raises(NotFoundError) as caught:
            await work
        assert (caught.value.vm_id, caught.value.run_id) == (vm_id, run_id)
        assert (f"VM {vm_id}" in str(caught.value)) == (vm_id is not None)
        assert (f"run {run_id}" in str(caught.value)) == (run_id is not None)


async def test_so_do_those_without_an_answer(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(*[dropped(Drop.AFTER_PROCESSING)] * 4, ok(completed(), delay=5.0))
    with pytest.raises(NetworkError) as lost:
        await vm.get_run("r")
    assert (lost.value.vm_id, lost.value.run_id) == ("vm-1", "r")
    with pytest.raises(DeadlineExceededError) as late:
        await vm.run("x", deadline=0.5)
    assert (late.value.vm_id, late.value.run_id) == ("vm-1", None)


async def test_and_those_of_an_object_store(server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok({"path": "f", "size": 5, "presigned_url": f"{other_server.url}/o", "expires_in": 9}))
    other_server.script(Reply(status=404))
    with pytest.raises(NotFoundError) as caught:
        await vm.sync("f")
    assert caught.value.vm_id == "vm-1"


async def test_a_failed_run_is_named(server: ScriptedServer, vm: AsyncVM, watch: Detector) -> None:
    server.script(ok({**completed("", f"the key is {API_KEY}", 3), "run_id": "r-9"}))
    with watch.expecting() as leaks, pytest.raises(RunFailedError) as caught:
        await vm.run("env", check=True)
    # What a command has written is handed out as it is.
    assert [leak.partition(":")[0] for leak in leaks] == ["repr of CompletedRunResult"]
    assert (caught.value.vm_id, caught.value.run_id, caught.value.operation) == ("vm-1", "r-9", "vm.run")
    assert "the key is [redacted]" in str(caught.value)
    assert API_KEY.encode() in caught.value.stderr
