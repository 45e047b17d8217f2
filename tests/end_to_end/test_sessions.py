"""Sessions, sizes and the organisation's run list through the client, on the embedded backend."""

from __future__ import annotations

import asyncio
import time

import anyio
import pytest

from arker import (
    ArkerError,
    AsyncArker,
    AsyncVM,
    BadRequestError,
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    UnsupportedOperationError,
)
from arker.emulator import Emulator
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


async def test_a_session_keeps_its_directory_and_environment_over_ten_runs(vm: AsyncVM) -> None:
    session = await vm.create_session(env={"COUNT": "0", "COLOUR": "blue"}, cwd="/tmp")
    assert (session.session_idx, session.state, session.cwd) == (1, "idle", "/tmp")
    for number in range(1, 11):
        command = f"mkdir step{number} && cd step{number} && export COUNT=$((COUNT + 1)) && pwd && echo $COUNT $COLOUR"
        result = await vm.run(command, session_id=session.session_id, check=True)
        path, count = result.stdout_text.splitlines()
        assert path == "/tmp/" + "/".join(f"step{i}" for i in range(1, number + 1))
        assert count == f"{number} blue"
    latest = await vm.get_session(session.session_id)
    assert latest.env is not None
    assert latest.cwd is not None
    assert (latest.cwd.count("step"), latest.env["COUNT"]) == (10, "10")
    # The default session knows nothing of it.
    assert (await vm.run("pwd; echo $COUNT")).stdout == b"/home/user\n\n"


async def test_two_sessions_at_once_and_two_runs_in_one(vm: AsyncVM) -> None:
    await vm.create_session()
    meet = "touch ~/{}; until [ -e ~/0 -a -e ~/1 ]; do sleep 0.02; done"  # one after the other neither ends
    with anyio.fail_after(PATIENCE):
        await asyncio.gather(*(vm.run(meet.format(number), session_idx=number) for number in range(2)))

    async def span() -> tuple[int, int]:
        begin, end = (await vm.run("date +%s%N; sleep 0.4; date +%s%N", session_idx=1, check=True)).stdout.split()
        return int(begin), int(end)

    spans = sorted(await asyncio.gather(span(), span()))
    assert spans[0][1] <= spans[1][0]  # the second waited its turn


async def test_a_vm_shows_its_sessions_and_what_runs(ar: AsyncArker, vm: AsyncVM, arker_emulator: Emulator) -> None:
    session = await vm.create_session(env={"WORD": "here"})
    background = await vm.run("sleep 60", background=True, session_id=session.session_id)
    assert (await vm.get_session(session.session_id)).state == "running"
    assert [item.session_idx for item in await vm.list_sessions(state="running")] == [1]
    described = await ar.get_vm(vm.id)
    assert described.sessions is not None
    assert (described.state, [item.state for item in described.sessions]) == ("running", ["idle", "running"])
    env = described.sessions[1].env
    assert env is not None
    assert env["WORD"] == "here"
    assert (await vm.delete_session(session.session_id)).deleted
    run = await vm.get_run(background.run_id)
    assert (run.state, run.exit_code) == ("cancelled", None)
    with pytest.raises(NotFoundError):
        await vm.get_session(session.session_id)
    with pytest.raises(NotFoundError):
        await vm.run("true", session_id=session.session_id)
    (default,) = await vm.list_sessions()
    assert default.session_idx == 0
    await vm.run("cd /tmp")
    if arker_emulator.options.generation == "0.5":
        with pytest.raises(ConflictError):
            await vm.delete_session(default.session_id)
        return
    assert (await vm.delete_session(default.session_id)).deleted
    # An empty one is there instead.
    assert (await vm.run("pwd")).stdout == b"/home/user\n"
    (other,) = await vm.list_sessions()
    assert (other.session_idx, other.session_id == default.session_id) == (0, False)


async def test_pages_of_sessions(vm: AsyncVM) -> None:
    for _ in range(3):
        await vm.create_session()
    page = await vm.list_sessions(limit=3)
    assert [session.session_idx for session in page] == [3, 2, 1]
    rest = await vm.list_sessions(limit=3, cursor=page.next_cursor)
    assert ([session.session_idx for session in rest], rest.next_cursor) == ([0], None)


async def test_a_directory_that_is_not_there_is_refused(vm: AsyncVM) -> None:
    with pytest.raises(BadRequestError, match="cwd"):
        await vm.create_session(cwd="/nowhere")


async def test_a_child_has_its_parents_default_session_only(ar: AsyncArker, vm: AsyncVM) -> None:
    await vm.create_session(env={"WORD": "other"})
    await vm.run("cd /tmp; export WORD=kept")
    child = await ar.fork(vm)
    assert [session.session_idx for session in await child.list_sessions()] == [0]
    assert (await child.run("pwd; echo $WORD")).stdout == b"/tmp\nkept\n"


async def test_resize(ar: AsyncArker, vm: AsyncVM) -> None:
    before = await ar.get_vm(vm.id)
    assert (await vm.resize(vcpu_count=7, memory_mib=1234)).resized
    after = await ar.get_vm(vm.id)
    assert (after.vcpu_count, after.memory_mib, after.disk_mib) == (7, 1234, before.disk_mib)
    with pytest.raises(BadRequestError, match="disk_mib"):
        await vm.resize(disk_mib=2**40)
    with pytest.raises(UnsupportedOperationError, match="durable"):
        await ar.fork("ubuntu", durable=True)


async def test_the_organisations_run_list(ar: AsyncArker, vm: AsyncVM) -> None:
    second = await ar.fork(vm)
    begin = int(time.time())
    first_run = await vm.run("echo needle")
    await second.run("exit 5")
    with pytest.raises(ArkerError):
        await second.run("true", session_id="none")
    listed = await ar.list_runs(vm_ids=[vm.id, second.id], since=begin, actions=["run"])
    assert [(row.vm_id, row.status, row.exit_code) for row in listed] == [
        (second.id, 404, None),
        (second.id, 200, 5),
        (vm.id, 200, 0),
    ]
    row = listed[2]
    assert (row.run_id, row.command, row.method, row.source) == (first_run.run_id, "echo needle", "POST", "emulator")
    assert row.total_ms is not None
    assert row.total_ms > 0
    assert (listed.since, listed.limit, listed.offset, listed.lite) == (begin, 50, 0, False)
    by_search = await ar.list_runs(vm=vm.id, search="NEEDLE", endpoint="run", lite=True)
    assert [(row.run_id, row.body_in or "") for row in by_search] == [(first_run.run_id, "")]
    worst = await ar.list_runs(vm=second.id, sort="status", dir="desc", limit=1, status_min=400)
    assert [row.status for row in worst] == [404]
    assert [row.source_vm_id for row in await ar.list_runs(vm=second.id, endpoint="fork")] == [vm.id]
    assert len(await ar.list_runs(until=begin - 3600)) == 0
    with pytest.raises(BadRequestError, match="sort"):
        await ar.list_runs(sort="colour")


async def test_a_run_of_a_session_goes_on_in_the_background(emulator: Emulator, vm: AsyncVM) -> None:
    async with vm.open_session(cwd="/usr") as session:
        if emulator.options.generation == "0.5":
            with pytest.raises(UnsupportedOperationError, match="time_to_background"):
                await session.run("pwd", time_to_background=60)
            return
        result = await session.run("pwd", time_to_background=60)
        assert result.type == "completed"
        assert result.stdout == b"/usr\n"
        result = await session.run("sleep 0.5; pwd", time_to_background=0)
        assert result.type == "background"
        assert (await vm.attach_run(result.run_id).wait()).stdout == b"/usr\n"
        with pytest.raises(InvalidArgumentError, match="check"):
            await session.run("true", time_to_background=1, check=True)  # type: ignore[call-overload]
        with pytest.raises(InvalidArgumentError, match="time_to_background=1"):
            await session.run("true", time_to_background=1, on_cancel="kill")  # type: ignore[call-overload]
