"""Closing a client at the worst moments: at once with cancellations, from two sides, under callers who go on trying."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from arker import (
    ArkerError,
    AsyncSession,
    AsyncVM,
    ConfigurationError,
    FleetError,
    Hooks,
    RequestEvent,
    RetryEvent,
)
from arker._transport.http.sessions import LoopSessions
from arker_sync import VM, Arker
from tests.ledger.support import select
from tests.support.clients import COMPUTE, make_client
from tests.support.host import Host
from tests.support.secrets import API_KEY
from tests.support.server import Recorded, Reply, ScriptedServer, error, ok
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def host(server: ScriptedServer) -> Host:
    return Host(server)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


async def requested(server: ScriptedServer, what: str) -> None:
    """Wait until something is asked for."""
    await until(lambda: any(what in f"{request.method} {request.path}" for request in server.requests))


async def test_a_second_closing_does_not_cut_off_what_callers_delete(
    host: Host, server: ScriptedServer, ledger: Path
) -> None:
    host.deletion = lambda vm: attrs.evolve(host.delete(vm), delay=0.1)
    client = make_client(server, ledger=ledger)

    async def work() -> None:
        other = await client.fork("ubuntu")
        try:
            async with await client.fork("ubuntu") as vm:
                while True:
                    await vm.run("x")
        finally:
            await other.delete()

    tasks = [asyncio.ensure_future(work()) for _ in range(5)]
    while len(host.vms) < 10:
        await asyncio.sleep(0.005)
    await asyncio.gather(client.aclose(), client.aclose(), client.aclose())
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} == {ConfigurationError}
    assert (host.vms, select(ledger)) == (set(), [])


@pytest.mark.parametrize("closed", [False, True])
async def test_callers_who_try_again_at_once_do_not_stop_the_loop(
    host: Host, server: ScriptedServer, closed: bool
) -> None:
    client = make_client(server)
    vm = await client.fork("ubuntu")
    over = threading.Event()

    async def deletion(vm: str) -> Reply:
        await until(over.is_set)
        return host.delete(vm)

    if closed:
        await client.aclose()
        closing = None
    else:
        host.deletion = deletion
        entered = await vm.__aenter__()
        closing = asyncio.ensure_future(client.aclose())
        await requested(server, "DELETE")
        assert entered is vm
    loop = asyncio.get_running_loop()
    turns = 0

    turning = True

    def turn() -> None:
        nonlocal turns
        turns += 1
        if turning:
            loop.call_soon(turn)

    loop.call_soon(turn)
    works: list[Callable[[], Awaitable[Any]]] = [
        lambda: vm.run("x"),
        lambda: client.fork("ubuntu"),
        client.fork_many("ubuntu", 2).__aenter__,
    ]
    for work in works:
        before = turns
        for _ in range(20):
            with pytest.raises(ConfigurationError, match="closed"):
                await work()
        assert turns >= before + 20
    turning = False
    over.set()
    if closing is not None:
        await closing
        await vm.__aexit__(None, None, None)
        assert host.vms == set()


async def test_cancelled_in_the_turns_around_the_end_of_the_call(host: Host, server: ScriptedServer) -> None:
    """The turn of the loop in which the closing ends the call is among these, on every version of Python."""
    host.run = lambda: ok({}, delay=60)
    loop = asyncio.get_running_loop()
    kinds: list[str] = []
    for turn in range(24):
        client = make_client(server)
        server.requests.clear()
        vm = await client.fork("ubuntu")
        task = asyncio.ensure_future(vm.run("x"))
        await requested(server, "runs")
        await asyncio.sleep(0.02)
        cancelled: list[bool] = []

        def cancel(left: int, task: asyncio.Task[object] = task, cancelled: list[bool] = cancelled) -> None:
            if left:
                loop.call_soon(cancel, left - 1)
            else:
                cancelled.append(task.cancel())

        closing = asyncio.ensure_future(client.aclose())
        loop.call_soon(cancel, turn)
        result = (await asyncio.gather(task, return_exceptions=True))[0]
        await closing
        if cancelled and cancelled[0]:
            assert isinstance(result, asyncio.CancelledError), (turn, result)
        else:
            assert isinstance(result, ConfigurationError), (turn, result)
        kinds.append(type(result).__name__)
    assert set(kinds) == {"CancelledError", "ConfigurationError"}, kinds


async def test_cancelled_before_the_end_arrives_from_another_loop(host: Host, server: ScriptedServer) -> None:
    host.run = lambda: ok({}, delay=60)
    client = make_client(server)
    vm = await client.fork("ubuntu")
    task = asyncio.ensure_future(vm.run("x"))
    await requested(server, "runs")
    await asyncio.sleep(0.05)
    closer = threading.Thread(target=lambda: asyncio.run(client.aclose()))
    task.cancel()
    closer.start()
    time.sleep(0.3)  # noqa: ASYNC251 - this loop is busy, so that both come to the task at once
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.get_running_loop().run_in_executor(None, closer.join)


async def test_cancelled_while_a_fleet_is_forked(host: Host, server: ScriptedServer) -> None:
    client = make_client(server)
    over = host.hold_forks()

    async def work() -> None:
        async with client.fork_many("ubuntu", 3):
            pass

    task = asyncio.ensure_future(work())
    await requested(server, "fork")
    closing = asyncio.ensure_future(client.aclose())
    await asyncio.sleep(0.05)
    task.cancel()
    over.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await closing
    assert host.vms == set()


async def hold(call: Coroutine[Any, Any, object]) -> None:
    await call


@pytest.mark.parametrize("what", ["a deletion between attempts", "a deletion in flight", "a fork"])
async def test_what_hangs_is_ended_with_the_client(
    host: Host, server: ScriptedServer, ledger: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arker._transport.open_blocks.CLEANUP_SECONDS", 0.3)
    # A session of the caller's is not closed with the client, and nothing else would end what hangs in it.
    async with aiohttp.ClientSession() as session:
        retries: list[RetryEvent] = []
        client = make_client(server, ledger=ledger, session=session, hooks=Hooks(on_retry=retries.append))
        vm = await client.fork("ubuntu")
        if what == "a fork":
            host.delay = 600
            call = asyncio.ensure_future(hold(client.fork("ubuntu")))
            await until(lambda: len(host.vms) == 2)
        else:
            busy, hanging = error("overloaded", status=503, retry_after="60"), ok({}, delay=600)
            host.deletion = lambda vm: busy if what == "a deletion between attempts" else hanging
            call = asyncio.ensure_future(hold(vm.delete()))
            await requested(server, "DELETE")
            await until(lambda: retries or what == "a deletion in flight")
        await asyncio.wait_for(client.aclose(), PATIENCE)
        with pytest.raises(ConfigurationError) as caught:
            await asyncio.wait_for(call, PATIENCE)
    assert caught.value.outcome == ("not_started" if what == "a deletion between attempts" else "unknown")
    await until(lambda: select(ledger))
    assert select(ledger) == ([None] if what == "a fork" else [vm.id])


async def test_a_deletion_through_a_tunnel_is_a_call_like_any_other(server: ScriptedServer) -> None:
    def answer(request: Recorded) -> Reply:
        if request.path.startswith("/inside"):
            return ok({}, delay=600)
        return ok({"tunnel_key": "k", "url": f"{server.url}/inside", "state": "open"})

    server.answer(answer)
    client = make_client(server)
    tunnel = await client.vm("vm-1").tunnel(8080).open()
    call = asyncio.ensure_future(tunnel.request("DELETE", "/x"))
    await requested(server, "DELETE")
    await asyncio.wait_for(client.aclose(), PATIENCE)
    with pytest.raises(ConfigurationError, match="closed"):
        await call


def test_closing_again_after_a_loop_was_shut_down_amid_it(host: Host, server: ScriptedServer) -> None:
    client = make_client(server)

    async def begin() -> None:
        await client.fork("ubuntu")
        closing = asyncio.ensure_future(client.aclose())
        await asyncio.sleep(0)
        assert not closing.done()

    async def close() -> None:
        await asyncio.wait_for(client.aclose(), PATIENCE)

    asyncio.run(begin())
    asyncio.run(close())
    assert len(host.vms) == 1


@pytest.mark.parametrize("times", [0, 3, 6])
async def test_closed_in_the_turn_in_which_a_fork_ends(
    host: Host, server: ScriptedServer, ledger: Path, times: int
) -> None:
    closing: list[asyncio.Future[None]] = []

    def close(event: RequestEvent) -> None:
        if event.operation == "fork":
            closing.append(asyncio.ensure_future(client.aclose()))

    client = make_client(server, ledger=ledger, hooks=Hooks(on_request=close))

    async def fork(times: int) -> AsyncVM:
        if times == 0:
            return await client.fork("ubuntu")
        return await asyncio.create_task(fork(times - 1))

    with pytest.raises(ConfigurationError, match="closed"):
        async with await fork(times) as vm:
            await vm.run("x")
    await closing[0]
    assert (host.vms, select(ledger)) == (set(), [])


async def test_a_session_that_is_opened_meanwhile_is_closed(
    host: Host, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    def hold_up(event: RequestEvent) -> None:
        if event.operation == "vm.create_session":
            time.sleep(0.05)  # the closing looks again before the session's block is open

    async def answer(request: Recorded) -> Reply:
        if "session" in request.path:
            await asyncio.sleep(0.1)
        reply = host(request)
        return reply if isinstance(reply, Reply) else await reply

    server.answer(answer)
    client = make_client(server, hooks=Hooks(on_request=hold_up))
    vm = await client.fork("ubuntu")

    async def opened(session: AsyncSession, times: int) -> AsyncSession:
        return await (asyncio.create_task(opened(session, times - 1)) if times else session.open())

    async def work() -> None:
        async with await opened(vm.open_session(), 3) as session:
            await session.run("x")

    task = asyncio.ensure_future(work())
    await requested(server, "sessions")
    await client.aclose()
    assert host.sessions == set()
    with pytest.raises(ConfigurationError):
        await task
    assert "may still exist" not in caplog.text


def test_a_function_of_a_blocking_fleet_closes_the_client(
    host: Host, server: ScriptedServer, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Arker(api_key=API_KEY, base_url=server.url + COMPUTE, ledger=ledger)
    # With the bound on a closing out of the way: none of it has to wait for that.
    monkeypatch.setattr("arker._transport.open_blocks.CLEANUP_SECONDS", 10 * PATIENCE)
    monkeypatch.setattr("arker._fleets.pool.CLEANUP_SECONDS", 10 * PATIENCE)
    seconds: list[float] = []

    def close(vm: VM, _: int) -> None:
        began = time.monotonic()
        try:
            client.close()
        finally:
            seconds.append(time.monotonic() - began)

    with pytest.raises(FleetError, match="left"), client.fork_many("ubuntu", 3) as fleet:
        for _ in fleet.map(close, range(2)):
            pass
    assert seconds
    assert max(seconds) < PATIENCE
    assert (host.vms, select(ledger)) == (set(), [])


async def test_closing_during_the_first_request(server: ScriptedServer) -> None:
    """The modules that the first request needs may still be on their way; or it may have been answered just before."""
    server.answer(ok({"vm_id": "v"}))
    client = make_client(server)
    first = asyncio.create_task(client.get_vm("v"))
    await client.aclose()
    (result,) = await asyncio.wait_for(asyncio.gather(first, return_exceptions=True), PATIENCE)
    assert isinstance(result, ArkerError | AsyncVM)
    with pytest.raises(ConfigurationError):
        await client.get_vm("v")


async def test_closing_when_another_loop_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arker._transport.http.closing._CLOSE_SECONDS", 0.05)
    sessions = LoopSessions(4, aiohttp.ClientTimeout(total=None))
    ready, over = threading.Event(), threading.Event()

    def elsewhere() -> None:
        async def block() -> None:
            sessions.get()
            ready.set()
            over.wait(PATIENCE)  # the loop is stuck meanwhile

        asyncio.run(block())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(ready.wait)
    sessions.get()
    await sessions.aclose()
    over.set()
    await asyncio.to_thread(thread.join)
