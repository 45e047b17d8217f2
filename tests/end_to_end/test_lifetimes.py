"""VMs that end at a set time: deleted by the living client, and by `reap` after it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from arker import AsyncArker, AsyncVM, InvalidArgumentError
from arker.emulator import Emulator
from arker_sync import Arker
from tests.ledger.support import line, select
from tests.support import forked
from tests.support.clients import make_client
from tests.support.forked import program
from tests.support.server import Recorded, Reply, ScriptedServer, error, ok
from tests.support.waiting import put_forward, until

pytestmark = pytest.mark.anyio

HOLD = """
import asyncio, sys
from arker import AsyncArker

async def main():
    async with AsyncArker() as ar:
        print((await ar.fork("ubuntu-nodisk", ttl=600)).id, flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


@pytest.fixture
async def client(emulator: Emulator, ledger: Path, ar: AsyncArker) -> AsyncIterator[AsyncArker]:
    """Return a client other than `ar`, with the ledger. All VMs are deleted at the end."""
    async with AsyncArker(**emulator.client_options, ledger=ledger) as client:
        yield client


async def ids(ar: AsyncArker) -> set[str]:
    return {vm.vm_id for vm in await ar.list_vms(limit=1000)}


async def gone(ar: AsyncArker, vm: AsyncVM) -> None:
    while vm.id in await ids(ar):
        await asyncio.sleep(0.02)


def let_time_pass(ledger: Path) -> None:
    """Move the ends of all VMs in the ledger into the past."""
    with closing(sqlite3.connect(ledger, timeout=10, isolation_level=None)) as connection:
        connection.execute("UPDATE forks SET ends_at = 1 WHERE ends_at IS NOT NULL")


async def test_a_vm_ends_when_its_time_has_come(client: AsyncArker, ledger: Path) -> None:
    first = await client.fork("ubuntu-nodisk")
    second = await first.fork(ttl=0.2)
    await gone(client, second)
    await until(lambda: select(ledger) == [first.id])
    assert await ids(client) == {first.id}


async def test_the_vms_of_a_fleet_end_and_are_replaced(client: AsyncArker) -> None:
    async with client.fork_many("ubuntu-nodisk", 2, ttl=600) as fleet:
        first = set(fleet)
        for vm in first:
            await vm.keep_alive(0.05)
            await gone(client, vm)
        outcomes = await fleet.run("true")
        assert [outcome.ok for outcome in outcomes] == [True, True]
        assert not first & set(fleet)
    assert await ids(client) == set()


def test_the_blocking_client_deletes_it_as_well(emulator: Emulator) -> None:
    with Arker(**emulator.client_options) as ar, ar.fork("ubuntu-nodisk") as vm:
        other = vm.fork(ttl=0.2)
        vm.keep_alive(600)
        while other.id in [each.vm_id for each in ar.list_vms()]:
            time.sleep(0.02)


async def test_the_time_can_be_set_anew_and_taken_back(
    client: AsyncArker, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm, kept = [await client.fork("ubuntu-nodisk") for _ in range(2)]
    await vm.keep_alive(45)
    await vm.keep_alive(600)
    await kept.keep_alive(45)
    kept.keep()
    await put_forward(monkeypatch, 50)
    await asyncio.sleep(0.3)
    assert await ids(client) == {vm.id, kept.id}
    assert select(ledger) == [vm.id]
    await client.vm(vm.id).keep_alive(0.05)
    await gone(client, vm)
    assert await ids(client) == {kept.id}


async def test_a_block_and_a_deletion_come_first(
    client: AsyncArker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await client.fork("ubuntu-nodisk") as vm:
        await vm.keep_alive(45)
    other = await client.fork("ubuntu-nodisk")
    await other.keep_alive(45)
    await other.delete()
    caplog.clear()
    await put_forward(monkeypatch, 50)
    await asyncio.sleep(0.2)
    assert "vm.delete" not in caplog.text


async def test_reap_waits_for_the_end_of_a_killed_program_s_vm(
    client: AsyncArker, emulator: Emulator, ledger: Path
) -> None:
    settings = {"ARKER_API_KEY": emulator.api_key, "ARKER_LEDGER": str(ledger)}
    settings.update({f"ARKER_{name}BASE_URL": emulator.url for name in ("", "BURST_", "CONTROL_")})
    with program(HOLD, **settings) as killed:
        held = line(killed)
        await until(lambda: bool(select(ledger)) and None not in select(ledger, "ends_at"))
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    report = await client.reap(older_than=0)
    assert (report.deleted, report.living) == ((), 1)
    assert held in await ids(client)
    let_time_pass(ledger)
    assert [left.vm_id for left in (await client.reap()).deleted] == [held]
    assert await ids(client) == set()


async def test_reap_deletes_what_a_closed_client_has_left_to_end(
    client: AsyncArker, emulator: Emulator, ledger: Path
) -> None:
    async with AsyncArker(**emulator.client_options, ledger=ledger) as other:
        vm = await other.fork("ubuntu-nodisk", ttl=600)
        stays = await other.fork("ubuntu-nodisk")
    assert (await client.reap()).living == 1
    let_time_pass(ledger)
    assert [left.vm_id for left in (await client.reap()).deleted] == [vm.id]
    assert await ids(client) == {stays.id}
    assert select(ledger) == []


async def test_a_vm_that_is_not_on_record_is_put_there(client: AsyncArker, emulator: Emulator, ledger: Path) -> None:
    async with AsyncArker(**emulator.client_options, ledger=False) as other:
        vm = await other.fork("ubuntu-nodisk")
    for _ in range(2):
        await client.vm(vm.id).keep_alive(600)
        assert select(ledger) == [vm.id]
    let_time_pass(ledger)
    assert [left.vm_id for left in (await client.reap()).deleted] == [vm.id]


async def test_what_could_not_be_deleted_is_told(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    async with make_client(server) as client:
        vm = client.vm("vm-1")
        server.answer(error("forbidden", status=403))
        await vm.keep_alive(0.01)
        while "VM vm-1" not in caplog.text:
            await asyncio.sleep(0.01)
        assert "VM vm-1 could not be deleted at its end" in caplog.text
        server.answer(ok({"deleted": True}))
        await vm.keep_alive(600)
    assert server.last.method == "DELETE"


def test_the_time_goes_on_in_the_next_loop(server: ScriptedServer) -> None:
    client = make_client(server)
    server.answer(ok({"vm_id": "vm-1", "deleted": True}))

    async def begin() -> None:
        await client.vm("vm-1").keep_alive(0.05)
        await client.vm("vm-2").keep_alive(600)

    async def go_on() -> None:
        async with client:
            await client.get_vm("vm-3")
            await until(lambda: server.last.method == "DELETE")

    asyncio.run(begin())
    asyncio.run(go_on())
    assert [request.path.rpartition("/")[2] for request in server.requests] == ["vm-3", "vm-1"]


FORKING = """
import asyncio, os, sys, warnings
from arker import AsyncArker

warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork.*")
client = AsyncArker("key", base_url=sys.argv[1], generation="1")

async def begin():
    await client.vm("vm-1").keep_alive(0.05)

async def go_on():
    async with client:
        await client.get_vm("vm-2")
        await client.vm("vm-2").keep_alive(0.1)
        while await client.get_vm("vm-2"):
            await asyncio.sleep(0.05)

asyncio.run(begin())
if os.fork() == 0:
    try:
        asyncio.run(go_on())
    finally:
        os._exit(0)
os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no os.fork()")
def test_the_time_goes_on_only_in_the_process_that_has_set_it(server: ScriptedServer) -> None:
    left = {"vm-1", "vm-2"}

    def answer(request: Recorded) -> Reply:
        vm_id = request.path.rpartition("/")[2]
        if request.method == "DELETE":
            left.discard(vm_id)
            return ok({"deleted": True})
        return ok({"vm_id": vm_id}) if vm_id in left else error("not_found", status=404)

    server.answer(answer)
    forked.run("code", FORKING, server.url, env=os.environ, timeout=300)
    assert left == {"vm-1"}


@pytest.mark.parametrize("seconds", [0, -1, "x", float("nan"), True])
async def test_times_that_are_none(server: ScriptedServer, seconds: Any) -> None:
    async with make_client(server) as client:
        vm = client.vm("vm-1")
        with pytest.raises(InvalidArgumentError, match="seconds"):
            await vm.keep_alive(seconds)
        for forked in (vm.fork(ttl=seconds), client.fork("ubuntu", ttl=seconds)):
            with pytest.raises(InvalidArgumentError, match="ttl"):
                await forked
    assert server.requests == []
