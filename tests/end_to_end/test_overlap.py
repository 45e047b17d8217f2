"""Commands at once in one VM: which session each runs in, what it finds there, and what is left of that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import anyio
import pytest

from arker import AsyncArker, AsyncVM, DeadlineExceededError, NotFoundError
from arker.emulator import Emulator
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.fixture
async def vm(ar: AsyncArker, emulator: Emulator) -> AsyncIterator[AsyncVM]:
    """Return a VM by a client whose end a test can see."""
    made = await ar.fork("ubuntu")
    async with AsyncArker(**emulator.client_options) as client:
        yield client.vm(made.id)


async def sessions(vm: AsyncVM) -> list[int]:
    return sorted(session.session_idx for session in (await vm.list_sessions()).sessions)


async def meet(vm: AsyncVM, number: int, name: str = "met") -> None:
    """Run so many commands at once, each of which waits for all of them: queued ones would wait until this fails."""
    command = f"echo >> ~/{name}; until [ $(wc -l < ~/{name}) -ge {number} ]; do sleep 0.02; done"
    with anyio.fail_after(PATIENCE):
        await asyncio.gather(*(vm.run(command) for _ in range(number)))


async def test_three_commands_go_on_at_the_same_time(vm: AsyncVM) -> None:
    await vm.run("true")
    await meet(vm, 3)
    assert await sessions(vm) == [0, 1, 2]


@pytest.mark.needs("words of 1")
async def test_sessions_of_a_vm_that_was_made_immutable_stay_silently(
    ar: AsyncArker, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncArker(**emulator.client_options) as client:
        vm = await client.fork("ubuntu")
        first = asyncio.create_task(vm.run("until [ -e go ]; do sleep 0.02; done"))
        while await sessions(vm) == [0]:
            await vm.run("true")
        await vm.sync("go", b"")
        await first
        await vm.update(immutable=True)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert await sessions(ar.vm(vm.id)) == [0, 1]


async def test_one_after_the_other_needs_no_other_session(vm: AsyncVM) -> None:
    for _ in range(3):
        await vm.run("true")
    assert await sessions(vm) == [0]


async def test_a_command_beside_another_begins_as_it_would_and_changes_nothing(vm: AsyncVM) -> None:
    await vm.run("mkdir -p /tmp/place; cd /tmp/place; export A='it is $A'; unset LANG")
    first = asyncio.create_task(vm.run("until [ -e go ]; do sleep 0.02; done"))
    await asyncio.sleep(0.2)
    command = 'pwd; echo "$A ${LANG-unset} ${ARKER_SESSION-unset}"; cd /; export A=changed B=new; exit 3'
    result = await vm.run(command)
    assert (result.stdout, result.exit_code) == (b"/tmp/place\nit is $A unset unset\n", 3)
    again = await vm.run(command, env={"A": "own"}, cwd="/usr", input="x")
    assert again.stdout == b"/usr\nown unset unset\n"
    await vm.sync("/tmp/place/go", b"")
    await first
    assert (await vm.run('pwd; echo "$A ${B-unset}"')).stdout == b"/tmp/place\nit is $A unset\n"
    assert await sessions(vm) == [0, 1]


async def test_a_change_of_the_default_session_is_seen_by_later_ones(vm: AsyncVM) -> None:
    for place in ("/usr", "/tmp", "/"):
        await vm.run(f"cd {place}; export PLACE={place}")
        go = f"/tmp/go-{place.strip('/')}"
        with anyio.fail_after(PATIENCE):
            _, second = await asyncio.gather(
                vm.run(f"until [ -e {go} ]; do sleep 0.02; done"), vm.run(f"pwd; echo $PLACE; touch {go}")
            )
        assert second.stdout.decode() == f"{place}\n{place}\n"
    assert await sessions(vm) == [0, 1]


async def test_more_than_there_are_sessions_for_queue(emulator: Emulator, vm: AsyncVM) -> None:
    async with AsyncArker(**emulator.client_options, overlap_sessions=2) as client:
        other = client.vm(vm.id)
        begun = "echo >> ~/begun; until [ $(wc -l < ~/begun) -ge 3 ]; do sleep 0.02; done"  # in each of the sessions
        results = await asyncio.gather(*(other.run(f"{begun}; echo {n}") for n in range(12)))
        assert [result.stdout for result in results] == [b"%d\n" % n for n in range(12)]
        assert await sessions(vm) == [0, 1, 2]
    assert await sessions(vm) == [0]


async def test_one_that_waits_for_a_session_can_be_cancelled(emulator: Emulator, vm: AsyncVM) -> None:
    async with AsyncArker(**emulator.client_options, overlap_sessions=1) as client:
        other = client.vm(vm.id)
        waiting = "until [ -e ~/go ]; do sleep 0.02; done"
        calls = [asyncio.create_task(other.run(f"{waiting}; echo {n}")) for n in range(6)]
        await asyncio.sleep(0.2)
        for call in calls[2:4]:
            call.cancel()
        await vm.sync("go", b"")
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(each, asyncio.CancelledError) for each in ended] == [False, False, True, True, False, False]
        with pytest.raises(DeadlineExceededError):
            await asyncio.gather(other.run("sleep 1"), other.run("sleep 1"), other.run("true", deadline=0.3))


async def test_switched_off_they_queue(emulator: Emulator, vm: AsyncVM) -> None:
    async with AsyncArker(**emulator.client_options, overlap_sessions=0) as client:
        other = client.vm(vm.id)
        await asyncio.gather(*(other.run("echo $$ >> order; sleep 0.05; echo $$ >> order") for _ in range(4)))
        order = (await other.run("cat order")).stdout.split()
        assert order[::2] == order[1::2]
        run = await other.start("cat", stdin=True)
        await run.write("x")
        await run.close_stdin()
        assert (await run.wait()).stdout == b"x"
    assert await sessions(vm) == [0]


async def test_the_default_session_by_its_number_always_queues(vm: AsyncVM) -> None:
    first = asyncio.create_task(vm.run("sleep 0.4; export A=1"))
    while not (await vm.list_runs()).runs:
        await asyncio.sleep(0.01)
    assert (await vm.run("echo $A", session_idx=0)).stdout == b"1\n"
    await first
    assert await sessions(vm) == [0]


async def test_a_key_of_the_callers_names_the_same_run_whatever_goes_on(vm: AsyncVM) -> None:
    command = "echo x >> count; sleep 0.2; cat count"
    results = await asyncio.gather(*(vm.run(command, idempotency_key="k") for _ in range(3)))
    assert {result.run_id for result in results} == {results[0].run_id}
    assert results[0].stdout == b"x\n"


async def test_a_server_keeps_no_other_command_waiting(vm: AsyncVM) -> None:
    server = await vm.start("sleep 300")
    for _ in range(2):
        result = await asyncio.wait_for(vm.run("pwd; cd /usr"), PATIENCE)
        assert result.stdout == b"/home/user\n"
    await server.cancel()
    await vm.run("cd /usr")
    assert (await vm.run("pwd")).stdout == b"/usr\n"
    assert await sessions(vm) == [0, 1]


async def test_the_end_of_a_run_that_is_not_followed_is_found_out(vm: AsyncVM) -> None:
    await vm.run("until [ -e go ]; do sleep 0.02; done; cd /usr", background=True)
    assert (await vm.run("pwd; touch go")).stdout == b"/home/user\n"
    while (await vm.list_runs(state="running")).runs:
        await asyncio.sleep(0.02)
    await vm.run("cd bin")
    assert (await vm.run("pwd")).stdout == b"/usr/bin\n"


async def test_background_runs_beside_others(vm: AsyncVM) -> None:
    runs = [await vm.start(f"until [ -e go ]; do sleep 0.02; done; pwd; echo {n}") for n in range(4)]
    await vm.sync("go", b"")
    results = [await run.wait() for run in runs]
    assert [result.stdout for result in results] == [b"/home/user\n%d\n" % n for n in range(4)]
    assert await sessions(vm) == [0, 1, 2, 3]
    assert len({(await vm.get_run(run.run_id)).session_id for run in runs}) == 4


async def test_signals_reach_a_command_beside_another(vm: AsyncVM) -> None:
    first = await vm.start("sleep 300")
    run = await vm.start("trap 'echo got; exit 5' TERM; echo up; while :; do sleep 0.02; done")
    async for line in run.lines():
        if line.text == "up":
            await run.signal("TERM")
    assert (await run.wait()).exit_code == 5
    assert (await first.refresh()).state == "running"
    await first.cancel()


async def test_a_session_that_was_deleted_is_replaced(vm: AsyncVM) -> None:
    await meet(vm, 2)
    [extra] = [each for each in (await vm.list_sessions()).sessions if each.session_idx]
    await vm.delete_session(extra.session_id)
    _, second = await asyncio.gather(vm.run("sleep 0.4"), vm.run("echo still"))
    assert second.stdout == b"still\n"
    await meet(vm, 2, "met-again")


async def test_a_vm_that_is_deleted_meanwhile(emulator: Emulator, vm: AsyncVM) -> None:
    async with AsyncArker(**emulator.client_options, overlap_sessions=1) as client:
        other = client.vm(vm.id)
        calls = [asyncio.create_task(other.run("sleep 300")) for _ in range(4)]
        await asyncio.sleep(0.5)
        await other.delete()
        ended = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE)
        assert all(isinstance(each, BaseException) or each.state == "failed" for each in ended)
        assert any(isinstance(each, NotFoundError) for each in ended)


async def test_the_client_deletes_its_sessions(ar: AsyncArker, emulator: Emulator) -> None:
    vm = await ar.fork("ubuntu")
    client = AsyncArker(**emulator.client_options)
    other = client.vm(vm.id)
    await meet(other, 4)
    server, beside = await other.start("sleep 300"), await other.start("sleep 300")
    assert await sessions(vm) == [0, 1, 2, 3]
    await client.aclose()
    # What still goes on is the caller's, and it stays.
    assert len(await sessions(vm)) == 2
    for run in (server, beside):
        assert (await vm.get_run(run.run_id)).state == "running"


async def test_a_fork_has_none_of_them(ar: AsyncArker) -> None:
    vm = await ar.fork("ubuntu")
    await meet(vm, 3)
    child = await vm.fork()
    assert await sessions(child) == [0]
    assert (await child.run("echo hi")).stdout == b"hi\n"
