"""Closing a client while blocks are open in other tasks: their VMs are deleted first, and nothing is left unknown."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from arker import ArkerError, AsyncArker, AsyncVM, ConfigurationError, FleetError, Hooks, RetryEvent
from arker_sync import Arker
from tests.ledger.support import select
from tests.support.clients import COMPUTE, make_client
from tests.support.host import Host
from tests.support.secrets import API_KEY
from tests.support.server import Reply, ScriptedServer, error, ok
from tests.support.waiting import PATIENCE, block_until, some_turns, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def host(server: ScriptedServer) -> Host:
    return Host(server)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


@pytest.fixture
async def open_client(server: ScriptedServer, ledger: Path) -> AsyncIterator[AsyncArker]:
    client = make_client(server, ledger=ledger)
    yield client
    await client.aclose()


async def in_a_block(client: AsyncArker) -> None:
    async with await client.fork("ubuntu") as vm:
        while True:
            await vm.run("x")


async def in_a_fleet(client: AsyncArker) -> None:
    async with client.fork_many("ubuntu", 5) as fleet:
        async for _ in fleet.map(lambda vm, _: vm.run("x"), range(10**6)):
            pass


@pytest.mark.parametrize("after", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("delay", [0.0, 0.1])
async def test_blocks_in_other_tasks_are_left_first(
    host: Host, open_client: AsyncArker, ledger: Path, after: float, delay: float, caplog: pytest.LogCaptureFixture
) -> None:
    host.delay = delay
    tasks = [asyncio.ensure_future(work(open_client)) for work in (in_a_block, in_a_fleet, in_a_block)]
    await asyncio.sleep(after)
    await open_client.aclose()
    assert host.vms == set()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE)
    assert all(isinstance(result, ArkerError) for result in results), results
    assert select(ledger) == []
    assert not [each for each in caplog.records if each.name == "arker" and each.levelno >= logging.WARNING]


async def test_from_inside_of_the_block_itself(host: Host, open_client: AsyncArker) -> None:
    async with open_client.fork_many("ubuntu", 3), await open_client.fork("ubuntu") as vm, vm.open_session():
        assert (len(host.vms), len(host.sessions)) == (4, 1)
        await asyncio.wait_for(open_client.aclose(), PATIENCE)
        assert (host.vms, host.sessions) == (set(), set())


async def test_what_is_kept_or_in_no_block_stays(host: Host, open_client: AsyncArker, ledger: Path) -> None:
    plain = await open_client.fork("ubuntu")
    async with await open_client.fork("ubuntu") as kept, await open_client.fork("ubuntu"):
        kept.keep()
        await open_client.aclose()
    assert host.vms == {plain.id, kept.id}
    assert select(ledger) == []


async def test_what_cannot_be_deleted_stays_on_record(
    host: Host, open_client: AsyncArker, ledger: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host.deletion = lambda _: ok({"code": "forbidden", "message": "no"}, status=403)
    entered = asyncio.Event()

    async def block() -> None:
        async with await open_client.fork("ubuntu"):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(block())
    await entered.wait()
    await open_client.aclose()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert select(ledger) == ["vm-1"]
    assert "the client was closed before all could be removed, which may still exist: VM vm-1" in caplog.text


async def test_nothing_is_begun_in_a_client_that_is_closed(host: Host, open_client: AsyncArker) -> None:
    await open_client.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        await open_client.fork("ubuntu")
    with pytest.raises(ConfigurationError, match="closed"):
        async with open_client.fork_many("ubuntu", 2):
            pass
    assert host.vms == set()


@pytest.mark.parametrize("how", ["twice", "cancelled"])
async def test_closing_again_and_cancelled(host: Host, open_client: AsyncArker, how: str) -> None:
    host.deletion = lambda vm: attrs.evolve(host.delete(vm), delay=0.05)
    tasks = [asyncio.ensure_future(in_a_block(open_client)) for _ in range(3)]
    await asyncio.sleep(0.05)
    if how == "twice":
        await asyncio.gather(open_client.aclose(), open_client.aclose())
    else:
        closing = asyncio.ensure_future(open_client.aclose())
        await asyncio.sleep(0.01)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
    assert host.vms == set()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_client_s_own_block_leaves_them_too(host: Host, server: ScriptedServer) -> None:
    entered: list[AsyncVM] = []

    async def block(client: AsyncArker) -> None:
        async with await client.fork("ubuntu") as vm:
            entered.append(vm)
            await asyncio.Event().wait()

    async with make_client(server) as client:
        task = asyncio.ensure_future(block(client))
        while not entered:
            await asyncio.sleep(0.01)
    assert host.vms == set()
    task.cancel()
    await asyncio.wait({task})


NOT_DELETED = [
    ok({"code": "forbidden", "message": "no"}, status=403),
    ok({"deleted": False}),
    Reply(status=404, body=b"<html>a proxy's page</html>"),
]
"""Answers to a DELETE after which the VM may still be there."""


@pytest.mark.parametrize("deletion", NOT_DELETED)
async def test_a_fork_whose_vm_cannot_be_given_back_is_not_called_undone(
    host: Host, open_client: AsyncArker, ledger: Path, caplog: pytest.LogCaptureFixture, deletion: Reply
) -> None:
    over = host.hold_forks()
    host.deletion = lambda vm: deletion
    fork = asyncio.ensure_future(open_client.fork("ubuntu"))
    await until(lambda: host.vms)
    closing = asyncio.ensure_future(open_client.aclose())
    await some_turns()
    over.set()
    await closing
    with pytest.raises(ConfigurationError) as caught:
        await fork
    assert (caught.value.outcome, caught.value.vm_id) == ("applied", "vm-1")
    assert select(ledger) == ["vm-1"]
    assert "VM vm-1 of a fork that failed may still exist" in caplog.text


@pytest.mark.parametrize("deletion", NOT_DELETED)
async def test_a_cancelled_fork_whose_vm_cannot_be_deleted_stays_on_record(
    host: Host, open_client: AsyncArker, ledger: Path, caplog: pytest.LogCaptureFixture, deletion: Reply
) -> None:
    over = host.hold_forks()
    host.deletion = lambda vm: deletion
    fork = asyncio.ensure_future(open_client.fork("ubuntu"))
    await until(lambda: host.vms)
    fork.cancel()
    await some_turns()
    over.set()
    await asyncio.wait({fork})
    assert fork.cancelled()
    await open_client.aclose()
    assert select(ledger) == ["vm-1"]
    assert "was given up, and its VM may exist" in caplog.text


async def delete_afterwards(vm: AsyncVM) -> None:
    try:
        await vm.run("x")
    finally:
        await vm.delete()


def runs_asked_for(server: ScriptedServer) -> int:
    return sum(request.path.endswith("/runs") for request in server.requests)


@pytest.mark.parametrize("state", ["in flight", "between attempts", "waiting for its turn"])
async def test_calls_are_ended_first_and_what_their_callers_delete_then_is_deleted(
    host: Host, server: ScriptedServer, ledger: Path, state: str
) -> None:
    held, retries = ok({}, delay=600), list[RetryEvent]()
    host.run = lambda: error("overloaded", status=503, retry_after="60") if state == "between attempts" else held
    limit = 1 if state == "waiting for its turn" else 100
    client = make_client(server, ledger=ledger, max_connections=limit, hooks=Hooks(on_retry=retries.append))
    limiter = client._transport.limiter  # pyright: ignore[reportPrivateUsage]
    vms = [await client.fork("ubuntu") for _ in range(3)]
    tasks = [asyncio.ensure_future(delete_afterwards(vm)) for vm in vms]
    reached = {
        "in flight": lambda: runs_asked_for(server) == 3,
        "between attempts": lambda: len(retries) == 3,
        "waiting for its turn": lambda: runs_asked_for(server) == 1 and limiter.queued == 2,
    }
    await until(reached[state])
    await asyncio.wait_for(client.aclose(), PATIENCE)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [ConfigurationError] * 3
    outcomes = {result.outcome for result in results if isinstance(result, ArkerError)}
    sent = {
        "in flight": {"unknown"},
        "between attempts": {"not_started"},
        "waiting for its turn": {"unknown", "not_started"},
    }
    assert outcomes == sent[state]
    assert (host.vms, select(ledger)) == (set(), [])


async def test_a_caller_who_is_cancelled_as_well_is_cancelled(
    host: Host, server: ScriptedServer, open_client: AsyncArker
) -> None:
    host.run = lambda: ok({}, delay=600)
    task = asyncio.ensure_future(delete_afterwards(await open_client.fork("ubuntu")))
    await until(lambda: runs_asked_for(server))
    closing = asyncio.ensure_future(open_client.aclose())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await closing
    assert host.vms == set()


async def test_what_is_deleted_too_late_is_on_record(host: Host, open_client: AsyncArker, ledger: Path) -> None:
    vm, other = await open_client.fork("ubuntu"), await open_client.fork("ubuntu")
    await open_client.aclose()
    assert select(ledger) == []
    with pytest.raises(ConfigurationError, match="closed"):
        await vm.delete()
    await until(lambda: select(ledger))
    assert (host.vms, select(ledger)) == ({vm.id, other.id}, [vm.id])


@pytest.fixture
def no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the bound on a closing so far off that it ends none which should end by itself."""
    monkeypatch.setattr("arker._transport.open_blocks.CLEANUP_SECONDS", 10 * PATIENCE)
    monkeypatch.setattr("arker._fleets.pool.CLEANUP_SECONDS", 10 * PATIENCE)


@pytest.mark.usefixtures("no_bound")
async def test_closing_by_a_function_of_a_fleet(host: Host, open_client: AsyncArker, ledger: Path) -> None:
    async def close(vm: AsyncVM, _: int) -> None:
        await open_client.aclose()

    async def block() -> None:
        async with open_client.fork_many("ubuntu", 5) as fleet:
            async for _ in fleet.map(close, range(3)):
                pass

    with pytest.raises(FleetError, match="left"):
        await asyncio.wait_for(block(), PATIENCE)
    assert (host.vms, select(ledger)) == (set(), [])


@pytest.mark.usefixtures("no_bound")
@pytest.mark.parametrize("deletable", [True, False])
async def test_functions_that_do_not_end_hold_up_no_deletion(
    host: Host, open_client: AsyncArker, ledger: Path, deletable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if not deletable:
        refusal = error("forbidden", status=403)
        host.deletion = lambda vm: refusal
    begun: list[AsyncVM] = []
    over = asyncio.Event()

    async def stubborn(vm: AsyncVM, _: int) -> None:
        begun.append(vm)
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()

    async def block() -> None:
        async with open_client.fork_many("ubuntu", 3) as fleet:
            try:
                async for _ in fleet.map(stubborn, range(3)):
                    pass
            except FleetError:
                pass

    task = asyncio.ensure_future(block())
    await until(lambda: len(begun) == 3)
    await asyncio.wait_for(open_client.aclose(), PATIENCE)
    over.set()
    if deletable:
        assert (host.vms, select(ledger)) == (set(), [])
        await task
    else:
        assert set(select(ledger)) == {"vm-1", "vm-2", "vm-3"}
        with pytest.raises(FleetError, match="3 VMs could not be deleted") as caught:
            await task
        assert set(caught.value.vm_ids) == {"vm-1", "vm-2", "vm-3"}
        assert all(vm in caplog.text.partition("closed before all could be removed")[2] for vm in caught.value.vm_ids)
    assert "never retrieved" not in caplog.text


async def test_a_deletion_that_hangs_is_cut_off_without_a_trace(
    host: Host, open_client: AsyncArker, ledger: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("arker._transport.open_blocks.CLEANUP_SECONDS", 0.2)
    host.deletion = lambda vm: ok({}, delay=60)
    async with await open_client.fork("ubuntu"):
        await open_client.aclose()
    await until(lambda: select(ledger))
    await asyncio.sleep(0.1)
    gc.collect()
    assert select(ledger) == ["vm-1"]
    assert "may still exist: VM vm-1" in caplog.text
    assert "never retrieved" not in caplog.text


@pytest.mark.usefixtures("no_bound")
async def test_nothing_is_begun_while_the_client_is_closing(host: Host, open_client: AsyncArker) -> None:
    plain = await open_client.fork("ubuntu")
    over = threading.Event()

    async def deletion(vm: str) -> Reply:
        await until(lambda: vm == plain.id or over.is_set())
        return host.delete(vm)

    host.deletion = deletion
    task = asyncio.ensure_future(in_a_block(open_client))
    while len(host.vms) < 2:
        await asyncio.sleep(0.01)
    closing = asyncio.ensure_future(open_client.aclose())
    await asyncio.sleep(0.05)
    assert not closing.done()
    for begin in (plain.run("x"), open_client.get_vm(plain.id), plain.sync("/x", b""), plain.open_session().open()):
        with pytest.raises(ConfigurationError, match="the client is closed"):
            await begin
    await plain.delete()
    assert not closing.done()
    over.set()
    await closing
    with pytest.raises(ArkerError):
        await task
    assert host.vms == set()


def test_from_another_thread(host: Host, server: ScriptedServer, ledger: Path) -> None:
    """A blocking program whose main thread closes the client while another one waits for a run."""
    host.run = lambda: ok({}, delay=600)
    client = Arker(api_key=API_KEY, base_url=server.url + COMPUTE, ledger=ledger)
    vm = client.fork("ubuntu")
    caught: list[BaseException] = []

    def work() -> None:
        try:
            vm.run("x")
        except BaseException as raised:
            caught.append(raised)
        finally:
            vm.delete()

    thread = threading.Thread(target=work)
    thread.start()
    block_until(lambda: runs_asked_for(server))
    client.close()
    thread.join(PATIENCE)
    assert [type(each) for each in caught] == [ConfigurationError]
    assert (host.vms, select(ledger)) == (set(), [])
