"""Killed programs: `reap` deletes what they left, and nothing of other programs."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from arker import AsyncArker, AsyncVM, ConfigurationError, InvalidArgumentError, NotFoundError
from arker.emulator import Emulator
from tests.ledger.support import ROOT, line, output, select
from tests.support.forked import Forked, program, start
from tests.support.length import cases, times
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

PREPARE = """
import asyncio, os, sys
from arker import AsyncArker

async def hold():
    await asyncio.to_thread(sys.stdin.readline)
"""

FORK_MANY = (
    PREPARE
    + """
async def main():
    async with AsyncArker() as ar:
        async def one(number):
            vm = await ar.fork("ubuntu-nodisk")
            print(vm.id, flush=True)
            await vm.run("true")
            if number % 5 == 0:
                await vm.delete()
        await asyncio.gather(*(one(number) for number in range(int(sys.argv[1]))), return_exceptions=True)
        await hold()

asyncio.run(main())
"""
)

FORK_ONE = (
    PREPARE
    + """
async def main():
    async with AsyncArker() as ar:
        async with await ar.fork("ubuntu-nodisk") as vm:
            print(vm.id, flush=True)
            await hold()
        print("deleted", flush=True)

asyncio.run(main())
"""
)

REAP = """
import asyncio
from arker import AsyncArker

async def main():
    async with AsyncArker() as ar:
        report = await ar.reap()
    assert {left.error.code for left in report.failed} <= {"unknown_vm"}, report
    for left in (*report.deleted, *report.gone):
        print(left.vm_id)

asyncio.run(main())
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


@pytest.fixture
def settings(emulator: Emulator, ledger: Path) -> dict[str, str]:
    """Return the environment of a program that uses the same backend and ledger."""
    return {
        "ARKER_API_KEY": emulator.api_key,
        "ARKER_BASE_URL": emulator.url,
        "ARKER_BURST_BASE_URL": emulator.url,
        "ARKER_CONTROL_BASE_URL": emulator.url,
        "ARKER_LEDGER": str(ledger),
    }


@pytest.fixture
async def client(emulator: Emulator, ledger: Path, ar: AsyncArker) -> AsyncIterator[AsyncArker]:
    """Return a client other than `ar`, with the ledger. All VMs are deleted at the end."""
    async with AsyncArker(**emulator.client_options, ledger=ledger) as client:
        yield client


async def ids(ar: AsyncArker) -> set[str]:
    return {vm.vm_id for vm in await ar.list_vms(limit=1000)}


async def forked(process: Forked, ledger: Path) -> str:
    """Return the VM of a program, once the ledger has its id."""
    vm_id = line(process)
    await until(lambda: vm_id in select(ledger))
    return vm_id


def kill(process: Forked) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize(("answers", "forks"), cases([(1, 12), (20, 50)], rest=[(1, 50), (50, 50)]))
async def test_a_program_that_is_killed_amid_its_forks(
    client: AsyncArker, emulator: Emulator, settings: dict[str, str], ledger: Path, answers: int, forks: int
) -> None:
    # What must stay: one made without a ledger, one of this program, one of another that lives.
    async with AsyncArker(**emulator.client_options, ledger=False) as other:
        unknown = (await other.fork("ubuntu-nodisk")).id
    own = (await client.fork("ubuntu-nodisk")).id
    with program(FORK_ONE, **settings) as living:
        held = await forked(living, ledger)
        with program(FORK_MANY, str(forks), **settings) as killed:
            answered = {line(killed) for _ in range(answers)}
            kill(killed)
        # The ids are in the ledger.
        left = await ids(client) - {unknown, own, held}
        assert left
        with program(REAP, **settings) as reaper:
            reaped = set(output(reaper).split())
        # The server may have answered some that the program has not taken note of.
        assert await ids(client) == {unknown, own, held}
        assert left <= reaped
        assert not {unknown, own, held} & reaped
        assert {value for value in select(ledger) if value is not None} == {own, held}
        assert answered
        living.communicate("\n", timeout=300)
        assert living.returncode == 0
    assert await ids(client) == {unknown, own}


async def test_a_program_that_lives_keeps_what_it_has(
    client: AsyncArker, settings: dict[str, str], ledger: Path
) -> None:
    with program(FORK_ONE, **settings) as living:
        held = await forked(living, ledger)
        report = await client.reap()
        assert (report.deleted, report.gone, report.failed, report.living) == ((), (), (), 1)
        # Not even when it counts as old.
        report = await client.reap(older_than=0)
        assert (report.deleted, report.living) == ((), 1)
        assert held in await ids(client)
        kill(living)
    (left,) = (await client.reap()).deleted
    assert left.vm_id == held
    assert left.base_url == client.base_url
    assert left.error is None


SNAPSHOT = (
    PREPARE
    + """
async def main():
    async with AsyncArker() as ar:
        vm = await ar.fork("ubuntu-nodisk")
        print((await vm.snapshot("checkpoint")).id, flush=True)
        await hold()

asyncio.run(main())
"""
)


async def test_the_snapshot_of_a_killed_program_stays(
    client: AsyncArker, settings: dict[str, str], ledger: Path
) -> None:
    with program(SNAPSHOT, **settings) as killed:
        snapshot = line(killed)
        await until(lambda: len(select(ledger)) == 1 and snapshot not in select(ledger))
        kill(killed)
    assert len((await client.reap()).deleted) == 1
    assert await ids(client) == {snapshot}


async def test_what_a_dry_run_finds_stays(client: AsyncArker, settings: dict[str, str], ledger: Path) -> None:
    with program(FORK_ONE, **settings) as killed:
        held = await forked(killed, ledger)
        kill(killed)
    report = await client.reap(dry_run=True)
    assert [left.vm_id for left in report.deleted] == [held]
    assert report.dry_run
    assert held in await ids(client)
    assert select(ledger) == [held]


async def test_two_reap_at_once(client: AsyncArker, settings: dict[str, str], ledger: Path) -> None:
    with program(FORK_MANY, str(times(50, suite=15)), **settings) as killed:
        for _ in range(times(30, suite=10)):
            line(killed)
        kill(killed)
    left = await ids(client)
    with program(REAP, **settings) as one, program(REAP, **settings) as two:
        reaped = [set(output(one).split()), set(output(two).split())]
    assert left <= reaped[0] | reaped[1]
    assert await ids(client) == set()
    assert not any(select(ledger))  # only what had not been sent when the program was killed may be left in doubt


async def test_a_vm_that_somebody_has_deleted_meanwhile(
    client: AsyncArker, settings: dict[str, str], ledger: Path
) -> None:
    with program(FORK_ONE, **settings) as killed:
        held = await forked(killed, ledger)
        kill(killed)
    async with AsyncArker(settings["ARKER_API_KEY"], base_url=client.base_url, ledger=False) as other:
        await other.vm(held).delete()
    report = await client.reap()
    assert (report.deleted, [left.vm_id for left in report.gone]) == ((), [held])
    assert (await client.reap()).gone == ()


async def test_a_vm_that_is_deleted_or_kept_through_another_program_s_handle(
    client: AsyncArker, settings: dict[str, str], ledger: Path
) -> None:
    held: list[str] = []
    for _ in range(2):
        with program(FORK_ONE, **settings) as killed:
            held.append(await forked(killed, ledger))
            kill(killed)
    await client.vm(held[0]).delete()
    client.vm(held[1]).keep()
    report = await client.reap()
    assert (report.deleted, report.gone) == ((), ())
    assert await ids(client) == {held[1]}
    with pytest.raises(NotFoundError):
        await client.vm(held[0]).delete()


async def test_what_an_orderly_program_leaves_was_left_on_purpose(
    client: AsyncArker, emulator: Emulator, ledger: Path
) -> None:
    async with AsyncArker(**emulator.client_options, ledger=ledger) as other:
        left = await other.fork("ubuntu-nodisk")
        kept = await other.fork("ubuntu-nodisk")
        kept.keep()
        async with await other.fork("ubuntu-nodisk"):
            pass
    assert select(ledger) == []
    assert await ids(client) == {left.id, kept.id}
    assert (await client.reap(older_than=0)).deleted == ()


BREAK = (
    PREPARE
    + """
async def main():
    async with AsyncArker() as ar:
        vm = await ar.fork("ubuntu-nodisk")
        (await ar.fork("ubuntu-nodisk")).keep()
        print(vm.id, flush=True)
        await hold()
        raise SystemExit(7)

asyncio.run(main())
"""
)


async def test_what_a_program_leaves_that_ends_with_an_exception(
    client: AsyncArker, settings: dict[str, str], ledger: Path
) -> None:
    with program(BREAK, **settings) as broken:
        held = await forked(broken, ledger)
        assert (await client.reap()).deleted == ()
        broken.communicate("\n", timeout=300)
        assert broken.returncode == 7
    assert [left.vm_id for left in (await client.reap()).deleted] == [held]
    assert len(await ids(client)) == 1


async def test_interrupted_forks_leave_nothing_to_reap(client: AsyncArker, ledger: Path) -> None:
    tasks: list[asyncio.Task[AsyncVM]] = []
    for _ in range(3):
        round_ = [asyncio.create_task(client.fork("ubuntu-nodisk")) for _ in range(10)]
        await anyio.sleep(0.01)
        for task in round_:
            task.cancel()
        await asyncio.gather(*round_, return_exceptions=True)
        tasks += round_
    made = {task.result().id for task in tasks if not task.cancelled()}
    assert await ids(client) == made
    await until(lambda: set(select(ledger)) == made)


async def test_a_fork_that_is_refused_leaves_no_row(client: AsyncArker, ledger: Path) -> None:
    with pytest.raises(NotFoundError):
        await client.fork("no-such-vm")
    await client.aclose()
    assert select(ledger) == []


async def test_another_machine_s_and_another_account_s_are_left_alone(
    client: AsyncArker, emulator: Emulator, settings: dict[str, str], ledger: Path
) -> None:
    with program(FORK_ONE, **settings) as killed:
        held = await forked(killed, ledger)
        kill(killed)
    with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        connection.execute("UPDATE forks SET host = 'name elsewhere'")
    for older_than in (3600.0, None):
        report = await client.reap(older_than=older_than)
        assert (report.deleted, report.living, report.elsewhere) == ((), 0, 1)
    other_key = {**emulator.client_options, "api_key": "another-key"}
    other_host = {**emulator.client_options, "base_url": emulator.url + "/x", "burst_base_url": emulator.url + "/x"}
    different: Any
    for different in (other_key, other_host):
        async with AsyncArker(**different, ledger=ledger) as other:
            report = await other.reap(older_than=0)
            assert (report.deleted, report.gone, report.failed, report.elsewhere) == ((), (), (), 0)
    assert await ids(client) == {held}
    assert [left.vm_id for left in (await client.reap(older_than=0)).deleted] == [held]


async def test_without_a_ledger_there_is_nothing_to_reap(emulator: Emulator, tmp_path: Path) -> None:
    async with AsyncArker(**emulator.client_options, ledger=False) as client:
        report = await client.reap()
        assert (report.deleted, report.living) == ((), 0)
        assert client.ledger is None
        with pytest.raises(InvalidArgumentError):
            await client.reap(older_than=-1)
    async with AsyncArker(**emulator.client_options, ledger=tmp_path) as client:
        with pytest.raises(ConfigurationError, match="cannot be read"):
            await client.reap()


async def test_the_command(client: AsyncArker, settings: dict[str, str], ledger: Path) -> None:
    with program(FORK_ONE, **settings) as killed:
        held = await forked(killed, ledger)
        kill(killed)

    async def reap(*arguments: str, **changed: str) -> tuple[int, str, str]:
        env = {**os.environ, **settings, **changed}
        with start("module", "arker.__main__", "reap", *arguments, cwd=str(ROOT), env=env) as command:
            out, complaints = await anyio.to_thread.run_sync(command.communicate)
        return command.returncode, out.decode(), complaints.decode()

    status, said, complaints = await reap("--dry-run", "--older-than", "60")
    assert (status, complaints) == (0, "")
    assert f"would delete {held}\n" in said
    status, said, complaints = await reap()
    assert (status, complaints) == (0, "")
    assert said.splitlines()[0] == f"deleted {held}"
    assert await ids(client) == set()
    assert (await reap())[0] == 0
    status, said, complaints = await reap(ARKER_LEDGER="off")
    assert (status, said) == (2, "")
    assert "off" in complaints
    assert (await reap(ARKER_API_KEY=" "))[0] == 2
