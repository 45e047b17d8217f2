"""Closing a client while blocks are open in other tasks: their VMs are deleted first, and nothing is left unknown."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import attrs
import pytest

from arker import ArkerError, AsyncArker, AsyncVM, ConfigurationError
from tests.ledger.support import select
from tests.support.clients import make_client
from tests.support.samples import completed
from tests.support.server import Recorded, Reply, ScriptedServer, ok

pytestmark = pytest.mark.anyio


class Host:
    """VMs of a scripted server."""

    def __init__(self, server: ScriptedServer) -> None:
        self.vms: set[str] = set()
        self.made = itertools.count(1)
        self.delay = 0.0
        self.deletion: Callable[[str], Reply] = self.delete
        self.sessions: set[str] = set()
        server.answer(self)

    def __call__(self, request: Recorded) -> Reply:
        parts = request.path.partition("/v1/")[2].split("/")
        if parts == ["fork"]:
            vm = f"vm-{next(self.made)}"
            self.vms.add(vm)
            return ok({"vm_id": vm}, delay=self.delay)
        if request.method == "DELETE":
            if len(parts) > 2:
                self.sessions.discard(parts[3])
                return ok({"deleted": True})
            return self.deletion(parts[1])
        if parts[2:] == ["sessions"]:
            self.sessions.add("s-1")
            return ok({"session_id": "s-1"})
        if parts[2:] == ["runs"]:
            return ok(completed(), delay=0.01) if parts[1] in self.vms else Reply(status=404)
        return ok({"vm_id": parts[1]})

    def delete(self, vm: str) -> Reply:
        self.vms.discard(vm)
        return ok({"deleted": True})


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
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
    assert all(isinstance(result, ArkerError) for result in results), results
    assert select(ledger) == []
    assert not [each for each in caplog.records if each.name == "arker" and each.levelno >= logging.WARNING]


async def test_from_inside_of_the_block_itself(host: Host, open_client: AsyncArker) -> None:
    async with open_client.fork_many("ubuntu", 3), await open_client.fork("ubuntu") as vm, vm.open_session():
        assert (len(host.vms), len(host.sessions)) == (4, 1)
        await asyncio.wait_for(open_client.aclose(), 20)
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


async def test_a_fork_whose_vm_cannot_be_given_back_is_not_called_undone(
    host: Host, open_client: AsyncArker, ledger: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host.delay, host.deletion = 0.1, lambda _: ok({"code": "forbidden", "message": "no"}, status=403)
    fork = asyncio.ensure_future(open_client.fork("ubuntu"))
    while not host.vms:
        await asyncio.sleep(0.01)
    await open_client.aclose()
    with pytest.raises(ConfigurationError) as caught:
        await fork
    assert (caught.value.outcome, caught.value.vm_id) == ("applied", "vm-1")
    assert select(ledger) == ["vm-1"]
    assert "VM vm-1 of a fork that failed may still exist" in caplog.text


async def test_a_clean_up_that_is_cut_off_is_reported_by_no_loop(
    host: Host, open_client: AsyncArker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("arker._blocks.CLEANUP_SECONDS", 0.2)
    entered = asyncio.Event()

    async def stubborn(vm: AsyncVM, _: int) -> None:
        entered.set()
        for _ in range(3):
            try:
                await asyncio.sleep(0.4)
            except asyncio.CancelledError:
                pass

    async def block() -> None:
        async with open_client.fork_many("ubuntu", 1) as fleet:
            async for _ in fleet.map(stubborn, [1]):
                pass

    task = asyncio.ensure_future(block())
    await entered.wait()
    await open_client.aclose()
    await asyncio.wait({task}, timeout=20)
    await asyncio.sleep(2)
    del task
    gc.collect()
    assert "never retrieved" not in caplog.text
