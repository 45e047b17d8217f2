"""`AsyncSession`: opened and deleted with its block, whatever happens."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from arker import (
    AsyncVM,
    BadRequestError,
    ConfigurationError,
    DeadlineExceededError,
    ForbiddenError,
    InternalError,
    InvalidArgumentError,
    NetworkError,
    NotFoundError,
)
from arker._lifecycle.sdk_session import run_in_own_session
from arker._vm.base import place_of
from tests.support.clients import COMPUTE, make_client
from tests.support.interruption import Interruption
from tests.support.samples import completed
from tests.support.server import Drop, Recorded, Reply, ScriptedServer, dropped, error, ok
from tests.support.waiting import cancel_when, put_forward, until

pytestmark = pytest.mark.anyio

SESSIONS = f"{COMPUTE}/v1/vms/vm-1/sessions"


def session(**more: Any) -> dict[str, Any]:
    return {"session_id": "ses-1", "session_idx": 1, "state": "idle", "cwd": "/srv", "env": {"A": "b"}, **more}


async def test_a_block(server: ScriptedServer, vm: AsyncVM) -> None:
    held = vm.open_session(cwd="/srv", env={"A": "b"})
    assert server.requests == []
    assert repr(held) == "<AsyncSession not open in VM vm-1>"
    server.script(ok(session()))
    async with held as inside:
        assert inside is held
        assert server.last.json == {"cwd": "/srv", "env": {"A": "b"}}
        assert (held.id, held.session_id, held.vm_id) == ("ses-1", "ses-1", "vm-1")
        assert (held.cwd, held.env, held.state) == ("/srv", {"A": "b"}, "idle")
        assert repr(held) == "<AsyncSession ses-1 in VM vm-1>"
        server.script(ok(session(cwd="/", state="running")))
        assert await held.refresh() is held
        assert (held.cwd, held.state) == ("/", "running")
        server.script(ok({"deleted": True}))
    assert (server.last.method, server.last.target) == ("DELETE", f"{SESSIONS}/ses-1")
    assert repr(held) == "<AsyncSession closed in VM vm-1>"
    assert len(server.requests) == 3
    for use in (held.run("true"), held.refresh(), held.start("true"), held.open()):
        with pytest.raises(ConfigurationError, match="closed"):
            await use


async def test_without_a_block(server: ScriptedServer, vm: AsyncVM) -> None:
    held = vm.open_session()
    for use in (held.run("true"), held.refresh(), held.close()):
        with pytest.raises(ConfigurationError, match="not open"):
            await use
    with pytest.raises(ConfigurationError, match="not open"):
        _ = held.id
    server.script(ok(session()), ok({"deleted": True}))
    assert await held.open() is held
    assert await held.open() is held
    assert (await held.close(deadline=5)).deleted
    assert [request.method for request in server.requests] == ["POST", "DELETE"]


async def test_one_that_is_closed_already(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok(session()), ok({"deleted": True}))
    async with vm.open_session() as held:
        pass
    assert (await held.close()).deleted
    assert (await held.close(deadline=5)).deleted
    assert [request.method for request in server.requests] == ["POST", "DELETE"]


async def test_one_that_the_server_has_no_more(server: ScriptedServer, vm: AsyncVM) -> None:
    held = vm.open_session()
    server.script(ok(session()), Reply(status=404, body=b"<html>"), error("not_found", status=404))
    await held.open()
    with pytest.raises(NotFoundError):  # only a proxy says so
        await held.close()
    assert repr(held) == "<AsyncSession ses-1 in VM vm-1>"
    assert (await held.close()).deleted
    assert repr(held) == "<AsyncSession closed in VM vm-1>"
    assert (await held.close()).deleted
    assert len(server.requests) == 3


async def test_one_that_is_opened_twice_at_once(server: ScriptedServer, vm: AsyncVM) -> None:
    held = vm.open_session()
    server.script(ok(session(), delay=0.05))
    first = asyncio.create_task(held.open())
    await asyncio.sleep(0)
    with pytest.raises(ConfigurationError, match="by another caller"):
        await held.open()
    await first
    assert len(server.requests) == 1


async def test_commands(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok(session()), ok(completed("out")), ok({"run_id": "run-2"}), ok({"deleted": True}))
    async with vm.open_session() as held:
        result = await held.run(["echo", "a b"], timeout=3, check=True, idempotency_key="k", acquire="cpu")
        assert result.stdout == b"out"
        assert server.last.json == {
            "command": "echo 'a b'",
            "session_id": "ses-1",
            "timeout": 3.0,
            "acquire": "cpu",
        }
        assert server.last.key == "k"
        run = await held.start("sleep 9", timeout=5)
        assert (run.run_id, run.vm_id) == ("run-2", "vm-1")
        assert server.last.json == {
            "command": "sleep 9",
            "session_id": "ses-1",
            "background": True,
            "timeout": 5.0,
        }


async def test_arguments(server: ScriptedServer, vm: AsyncVM) -> None:
    wrong: list[Callable[[], object]] = [
        lambda: vm.open_session(cwd=""),
        lambda: vm.open_session(env={"A=B": "c"}),
        lambda: vm.open_session(deadline=0),
    ]
    for make in wrong:
        with pytest.raises(InvalidArgumentError):
            make()
    server.script(error("bad_request", "no such directory", status=400))
    with pytest.raises(BadRequestError):
        async with vm.open_session(cwd="/none"):
            raise AssertionError("it is not open")
    assert len(server.requests) == 1


async def test_a_creation_is_not_repeated(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(dropped(Drop.AFTER_PROCESSING))
    with pytest.raises(NetworkError) as caught:
        await vm.open_session().open()
    assert caught.value.outcome == "unknown"
    assert len(server.requests) == 1


# --- how it ends -----------------------------------------------------------------------------------------------------


async def test_it_is_deleted_when_the_block_is_cancelled(server: ScriptedServer, vm: AsyncVM) -> None:
    inside = asyncio.Event()

    async def use() -> None:
        async with vm.open_session():
            inside.set()
            await asyncio.sleep(30)

    server.script(ok(session()), error("unavailable", status=503), ok({"deleted": True}, delay=0.02))
    task = asyncio.create_task(use())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [request.method for request in server.requests] == ["POST", "DELETE", "DELETE"]


async def test_a_deletion_that_fails(server: ScriptedServer, vm: AsyncVM, caplog: pytest.LogCaptureFixture) -> None:
    forbidden = error("forbidden", status=403)
    server.script(ok(session()), forbidden)
    with pytest.raises(ForbiddenError):
        async with vm.open_session():
            pass
    server.script(ok(session()), forbidden)
    with caplog.at_level(logging.WARNING, "arker"), pytest.raises(ZeroDivisionError):
        async with vm.open_session():
            raise ZeroDivisionError
    assert "the session ses-1 of the VM vm-1 could not be deleted" in caplog.text
    server.script(ok(session()), error("not_found", status=404))
    async with vm.open_session():
        pass  # another caller has deleted it, or the VM


async def test_no_session_is_left_wherever_it_is_cancelled(server: ScriptedServer) -> None:
    open_sessions: set[str] = set()

    def answer(request: Recorded) -> Reply:
        if request.method == "POST":
            name = f"ses-{len(server.requests)}"
            open_sessions.add(name)
            return ok(session(session_id=name), delay=0.002)
        open_sessions.discard(request.path.rpartition("/")[2])
        return ok({"deleted": True})

    server.answer(answer)
    at = cancelled = 0
    while True:
        at += 1
        async with make_client(server) as client:

            async def use() -> None:
                async with client.vm("vm-1").open_session():
                    await asyncio.sleep(0)

            attempt = Interruption[None](at)
            cancelled += await attempt.of(use)
        assert open_sessions == set(), at
        if not attempt.happened:
            break
    assert cancelled >= 3


async def test_a_deadline_of_the_opening(server: ScriptedServer, vm: AsyncVM, monkeypatch: pytest.MonkeyPatch) -> None:
    passed = threading.Event()

    async def late(_: Recorded) -> Reply:
        await until(passed.is_set)
        return ok(session())

    server.script(late, ok({"deleted": True}))
    opening = asyncio.create_task(vm.open_session(deadline=50).open())
    await until(lambda: server.requests)
    await put_forward(monkeypatch, 50)
    passed.set()
    with pytest.raises(DeadlineExceededError) as caught:
        await opening
    # What came of it after all was deleted.
    assert (caught.value.operation, caught.value.outcome) == ("vm.create_session", "not_started")
    assert [request.method for request in server.requests] == ["POST", "DELETE"]


async def test_what_cannot_be_known_is_told(
    server: ScriptedServer, vm: AsyncVM, caplog: pytest.LogCaptureFixture
) -> None:
    async def lost(_: Recorded) -> Reply:
        await until(lambda: scope.cancel_called)
        return dropped(Drop.RESET)

    server.script(lost)
    scope = anyio.CancelScope()
    giving_up = cancel_when(scope, lambda: server.requests)
    with caplog.at_level(logging.WARNING, "arker"), scope:
        await vm.open_session().open()
    await giving_up
    assert scope.cancelled_caught
    assert "a session of the VM vm-1 was given up, and may exist" in caplog.text


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_session_that_the_server_did_not_delete_is_told_of(
    server: ScriptedServer, vm: AsyncVM, caplog: pytest.LogCaptureFixture, cancelled: bool
) -> None:
    scope = anyio.CancelScope()

    async def opened(_: Recorded) -> Reply:
        await until(lambda: scope.cancel_called or not cancelled)
        return ok(session())

    server.script(opened, ok({"deleted": False}))
    if cancelled:
        giving_up = cancel_when(scope, lambda: server.requests)
        with scope:
            await vm.open_session().open()
        await giving_up
        assert scope.cancelled_caught
        assert "was given up, and may exist: the server says that it was not deleted" in caplog.text
        return
    held = vm.open_session()
    with pytest.raises(InternalError, match="was not deleted"):
        async with held:
            pass
    server.script(ok({"deleted": True}))
    assert (await held.close()).deleted  # it is still open


async def test_a_proxy_s_page_is_no_word_of_a_session(
    server: ScriptedServer, vm: AsyncVM, caplog: pytest.LogCaptureFixture
) -> None:
    server.script(ok(session()), Reply(status=404, body=b"<html>"))
    async with vm.open_session():
        pass
    assert "the session ses-1 of the VM vm-1 could not be deleted and may still exist" in caplog.text
    caplog.clear()
    server.script(ok(session()), error("not_found", status=404))
    async with vm.open_session():
        pass
    assert caplog.messages == [message for message in caplog.messages if "may still exist" not in message]


@pytest.mark.parametrize("refusal", [ok({"deleted": False}), Reply(status=404, body=b"<html>")])
async def test_a_session_of_the_sdk_s_own_that_stays_is_told_of(
    server: ScriptedServer, vm: AsyncVM, caplog: pytest.LogCaptureFixture, refusal: Reply
) -> None:
    server.script(ok(session()), ok(completed("x")), refusal)
    await run_in_own_session(place_of(vm), ["true"])
    assert "session ses-1 of VM vm-1 could not be closed" in caplog.text
