"""What calls leave to the garbage collector when they end amid their work, or get replies that do not fit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson
import pytest

from arker import ArkerError, AsyncArker, AsyncVM, ConfigurationError, HttpTimeouts, VMGoneError
from tests.support.clients import make_client
from tests.support.garbage import assert_leaves_nothing, fails
from tests.support.samples import completed
from tests.support.server import Recorded, Reply, ScriptedServer, ok
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

Use = Callable[[AsyncVM], Awaitable[object]]


async def _pieces() -> AsyncIterator[bytes]:
    yield b"piece"


async def _iterate(vm: AsyncVM) -> None:
    async for _ in vm.iter_runs():
        pass


async def _enter(vm: AsyncVM) -> None:
    async with vm.fork():
        pass


CALLS: dict[str, Use] = {
    "run": lambda vm: vm.run("x"),
    "run that is killed": lambda vm: vm.run("x", on_cancel="kill"),
    "read": lambda vm: vm.sync("f"),
    "write": lambda vm: vm.sync("f", b"hello"),
    "large write": lambda vm: vm.sync("f", bytes(4 * 1024 * 1024)),
    "upload": lambda vm: vm.upload(_pieces(), "f"),
    "uploads": lambda vm: vm.upload_many([(b"1", "f"), (b"2", "g")]),
    "refresh": lambda vm: vm.refresh(),
    "runs": _iterate,
    "fork": lambda vm: vm.fork(),
    "fork that is entered": _enter,
}


class Held:
    """A server's answers that never come, except those to what is asked of it afterwards."""

    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        self._seen = 0
        server.answer(self)

    async def __call__(self, request: Recorded) -> Reply:
        if request.method == "DELETE":
            return ok({"deleted": True})
        if request.path.endswith("/fork"):  # a fork that was asked for is undone, which is about an answer
            return ok({"vm_id": "vm-2"}, delay=0.05)
        if b'"background"' in request.body:
            return ok({"run_id": "r-1", "state": "running"}, delay=0.05)
        if request.path.endswith("/cancel"):
            return ok({"cancelled": True, "state": "cancelled"})
        await asyncio.sleep(3600)  # the handler ends with its client
        raise AssertionError

    async def asked(self) -> None:
        """Wait for the next request."""
        await until(lambda: len(self._server.requests) > self._seen)
        self._seen = len(self._server.requests)


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_that_ends_with_its_client_leaves_nothing(
    server: ScriptedServer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held(server)
    clients: list[AsyncArker] = []  # a client itself is a circle

    async def close_amid() -> None:
        client = make_client(server)
        clients.append(client)
        call = asyncio.ensure_future(CALLS[name](client.vm("vm-1")))
        await held.asked()
        await client.aclose()
        await asyncio.wait({call})
        assert isinstance(call.exception(), ConfigurationError) == (name != "uploads")

    of_the_client = ("arker._transport.http.silence.Silences", "arker._tasks.rounds.Round")
    await assert_leaves_nothing(close_amid, caplog, but=of_the_client)


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_whose_caller_is_cancelled_leaves_nothing(
    client: AsyncArker, server: ScriptedServer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held(server)
    server.answer(held)

    async def cancel_amid() -> None:
        call = asyncio.ensure_future(CALLS[name](client.vm("vm-1")))
        await held.asked()
        call.cancel()
        await asyncio.wait({call})
        assert call.cancelled()

    await assert_leaves_nothing(cancel_amid, caplog)


REPLIES: dict[str, tuple[Use, object]] = {
    "no object": (lambda vm: vm.refresh(), [1]),
    "no array": (_iterate, {"runs": 7}),
    "no text": (lambda vm: vm.run("x"), {**completed(), "stdout": 7}),
    "no result": (lambda vm: vm.run("x"), {"answer": 42}),
    "no base64": (lambda vm: vm.run("x"), {**completed(), "stdout": "?", "stdout_encoding": "base64"}),
    "no content": (lambda vm: vm.sync("f"), {"results": [{"size": 1}], "content": 7, "encoding": "utf-8"}),
    "no results": (lambda vm: vm.sync("f", b"hello"), {"results": 7}),
    "no member": (lambda vm: vm.sync("f", b"hello"), {"results": [{"path": "f"}]}),
    "a member deep inside": (lambda vm: vm.get_run("r-1"), {"run_id": 7, "state": [], "tunnels": [{"port": "x"}]}),
    "an error": (lambda vm: vm.sync("f", b"hello"), {"results": [{"error": {"code": "internal", "message": "no"}}]}),
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", REPLIES)
async def test_a_reply_that_does_not_fit_leaves_nothing(
    server: ScriptedServer, name: str, strict: bool, caplog: pytest.LogCaptureFixture
) -> None:
    call, payload = REPLIES[name]
    server.answer(Reply(body=orjson.dumps(payload)))
    async with make_client(server, strict_replies=strict) as client:
        await assert_leaves_nothing(lambda: fails(call(client.vm("vm-1")), ArkerError), caplog)


async def test_members_that_do_not_fit_leave_nothing(
    client: AsyncArker, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer(ok({"vm_id": "vm-1", "public": 7, "sessions": [{"session_id": 7, "cwd": 7}], "created_at": []}))

    async def refresh() -> None:
        vm = client.vm("vm-1")
        await vm.refresh()
        assert vm.data is not None
        assert vm.data.misfits

    await assert_leaves_nothing(refresh, caplog)


async def test_a_run_whose_vm_goes_leaves_nothing(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    async def answer(request: Recorded) -> Reply:
        if request.method == "GET":
            return Reply(status=404, body=b'{"code": "not_found", "message": "no VM"}')
        await asyncio.sleep(3600)
        raise AssertionError

    server.answer(answer)
    async with make_client(server, timeout=HttpTimeouts(silence=0.01)) as client:
        vm = client.vm("vm-1")
        await assert_leaves_nothing(lambda: fails(vm.run("x"), VMGoneError), caplog)
