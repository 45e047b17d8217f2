"""The sessions that are kept for the SDK's own commands: used again, replaced, and deleted in the end."""

from __future__ import annotations

import asyncio

import pytest

from arker import AsyncArker, AsyncVM, DeadlineExceededError
from arker.emulator import Emulator

pytestmark = pytest.mark.anyio


async def sessions(vm: AsyncVM) -> list[str]:
    return sorted(session.session_id for session in (await vm.list_sessions()).sessions if session.session_idx)


async def test_one_is_used_again(vm: AsyncVM) -> None:
    await vm.files.mkdir("/tmp/a")
    first = await sessions(vm)
    for _ in range(3):
        await vm.files.stat("/tmp/a")
    assert await sessions(vm) == first
    assert len(first) == 1


async def test_one_that_was_deleted_is_replaced(vm: AsyncVM) -> None:
    await vm.files.mkdir("/tmp/a")
    for session_id in await sessions(vm):
        await vm.delete_session(session_id)
    assert (await vm.files.stat("/tmp/a")).is_dir
    assert len(await sessions(vm)) == 1


async def test_operations_at_once_take_several_and_few_are_kept(vm: AsyncVM) -> None:
    assert await asyncio.gather(*(vm.files.exists("/tmp") for _ in range(20))) == [True] * 20
    assert 1 <= len(await sessions(vm)) <= 4


async def test_one_that_is_given_up_stops_its_command_and_is_closed(vm: AsyncVM) -> None:
    await vm.run("mkfifo /tmp/pipe")
    with pytest.raises(DeadlineExceededError):
        await vm.files.copy("/tmp/pipe", "/tmp/copy", deadline=1)  # nobody writes to it
    assert await sessions(vm) == []
    assert (await vm.run("pgrep -x cp")).stdout == b""
    assert await vm.files.exists("/tmp/pipe")


async def test_the_session_of_the_caller_stays_as_it_is(vm: AsyncVM) -> None:
    await vm.run("cd /srv; export A=1")
    await vm.files.mkdir("relative")
    assert (await vm.run("pwd; echo $A")).stdout_text == "/srv\n1\n"
    assert await vm.files.is_dir("/home/user/relative")
    assert await vm.files.is_dir("~/relative")


async def test_they_are_deleted_with_the_client(emulator: Emulator) -> None:
    async with AsyncArker(**emulator.client_options, ledger=False) as other:
        kept = await other.fork("ubuntu")
        gone = await other.fork("ubuntu")
        for vm in (kept, gone):
            await vm.files.mkdir("/tmp/a")
        await gone.delete()
        assert len(await sessions(kept)) == 1
    async with AsyncArker(**emulator.client_options, ledger=False) as third:
        vm = third.vm(kept.id)
        assert await sessions(vm) == []
        await vm.delete()


async def test_handles_on_one_vm_share_them(ar: AsyncArker, vm: AsyncVM) -> None:
    await vm.files.mkdir("/tmp/a")
    await ar.vm(vm.id).files.mkdir("/tmp/b")
    assert len(await sessions(vm)) == 1
