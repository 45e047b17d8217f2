"""`async with` on a VM: it is deleted at the end, whatever happens inside."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest

from arker import AsyncArker, AsyncVM, ForbiddenError, InternalError, NotFoundError
from tests.support.clients import COMPUTE, make_client
from tests.support.samples import completed
from tests.support.server import Recorded, Reply, ScriptedServer, error, ok
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def test_the_block_of_a_vm_deletes_it(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok({"vm_id": "v"}), ok({"deleted": True}))
    async with await client.fork("ubuntu") as vm:
        assert len(server.requests) == 1
        assert vm.id == "v"
    assert (server.last.method, server.last.target) == ("DELETE", f"{COMPUTE}/v1/vms/v")


async def test_also_when_an_exception_leaves_it(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok({"deleted": True}))
    with pytest.raises(ZeroDivisionError):
        async with vm:
            raise ZeroDivisionError
    assert server.last.method == "DELETE"


async def test_also_when_it_is_cancelled(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok({"deleted": True}, delay=0.05))
    with anyio.move_on_after(0.02) as scope:
        async with vm:
            await anyio.sleep(30)
    assert scope.cancelled_caught
    assert server.last.method == "DELETE"


async def test_also_when_its_task_is_cancelled(server: ScriptedServer, vm: AsyncVM) -> None:
    inside = asyncio.Event()

    async def use() -> None:
        async with vm:
            inside.set()
            await asyncio.sleep(30)

    server.script(error("unavailable", status=503), ok({"deleted": True}, delay=0.02))
    task = asyncio.create_task(use())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [request.method for request in server.requests] == ["DELETE", "DELETE"]


async def test_also_when_its_task_is_cancelled_again_meanwhile(server: ScriptedServer, vm: AsyncVM) -> None:
    inside = asyncio.Event()

    async def use() -> None:
        async with vm:
            inside.set()
            await asyncio.sleep(30)

    server.script(error("unavailable", status=503), ok({"deleted": True}, delay=0.05))
    task = asyncio.create_task(use())
    await inside.wait()
    for _ in range(5):
        task.cancel()
        await asyncio.sleep(0.005)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [request.method for request in server.requests] == ["DELETE", "DELETE"]


async def test_also_when_a_bound_passes_while_it_is_left(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(error("unavailable", status=503), ok({"deleted": True}, delay=0.05))

    async def use() -> None:
        async with vm:
            pass

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(use(), 0.02)
    assert [request.method for request in server.requests] == ["DELETE", "DELETE"]


async def test_also_when_runs_hold_the_connections(server: ScriptedServer) -> None:
    over = threading.Event()

    async def answer(request: Recorded) -> Reply:
        if request.method == "POST":
            await until(over.is_set)
            return ok(completed())
        return ok({"deleted": True})

    server.answer(answer)
    # Runs may have all of them but one.
    async with make_client(server, max_connections=3) as client:
        runs = [asyncio.create_task(client.vm("v").run("sleep")) for _ in range(4)]
        await until(lambda: len(server.requests) >= 2)
        async with client.vm("w"):
            pass
        assert [request.method for request in server.requests] == ["POST", "POST", "DELETE"]
        assert not any(run.done() for run in runs)
        over.set()
        await asyncio.gather(*runs)


async def test_a_vm_that_is_kept(server: ScriptedServer, vm: AsyncVM) -> None:
    async with vm:
        vm.keep()
    assert not server.requests


async def test_a_vm_that_is_gone_already(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok({"deleted": True}), error("not_found", status=404))
    async with vm:
        await vm.delete()


async def test_a_deletion_that_fails(server: ScriptedServer, vm: AsyncVM, caplog: pytest.LogCaptureFixture) -> None:
    server.script(error("forbidden", status=403), error("forbidden", status=403))
    with pytest.raises(ForbiddenError, match=r"vm\.delete: no \(code forbidden"):
        async with vm:
            pass
    # It must not hide what went wrong before.
    with pytest.raises(NotFoundError, match="mine"):
        async with vm:
            raise NotFoundError("mine")
    assert "VM vm-1 could not be deleted and may still exist" in caplog.text


NOT_THERE = ok({"code": "not_found", "message": "no such VM"})


async def test_gone_is_what_the_error_says_not_the_status(server: ScriptedServer, client: AsyncArker) -> None:
    """An error is an error whatever the HTTP status."""
    server.script(ok({"vm_id": "v"}), NOT_THERE)
    async with await client.fork("ubuntu"):
        pass
    server.script(ok({"vm_id": "v"}), NOT_THERE)
    async with client.fork_many("ubuntu", 1):
        pass
    assert [request.method for request in server.requests] == ["POST", "DELETE", "POST", "DELETE"]


async def test_a_vm_that_was_not_deleted_is_told_of(
    server: ScriptedServer, vm: AsyncVM, caplog: pytest.LogCaptureFixture
) -> None:
    server.script(ok({"deleted": False}), ok({"deleted": False}))
    with pytest.raises(InternalError, match="was not deleted"):
        async with vm:
            pass
    with pytest.raises(ZeroDivisionError):
        async with vm:
            _ = 1 / 0
    assert "may still exist" in caplog.text
