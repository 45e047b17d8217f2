"""Tests of `solver` on real VMs, on this machine: ``python -m pytest`` in this directory."""

from __future__ import annotations

import asyncio

import pytest
from solver import Verdict, Workshop, best_of, judge

from arker import AsyncArker, RunFailedError
from arker.emulator import Emulator

pytestmark = pytest.mark.anyio

DAY = 24 * 3600


async def test_a_candidate_is_run(arker: AsyncArker) -> None:
    assert await judge(arker, "print(6 * 7)", "42") == Verdict(True, "42")


async def test_files_go_in_and_come_out(arker: AsyncArker) -> None:
    workshop = await Workshop.open(arker)
    await workshop.save("notes.txt", b"one\ntwo\n")
    await workshop.step("tac notes.txt > reversed.txt")
    assert await workshop.load("reversed.txt") == b"two\none\n"


async def test_a_failure_says_why(arker: AsyncArker) -> None:
    verdict = await judge(arker, "raise ValueError('no such luck')", "42")
    assert verdict == Verdict(False, "", "ValueError: no such luck")
    workshop = await Workshop.open(arker)
    with pytest.raises(RunFailedError) as caught:
        await workshop.step("echo partly; exit 3")
    assert (caught.value.exit_code, caught.value.stdout) == (3, b"partly\n")


async def test_a_candidate_that_never_ends(arker: AsyncArker) -> None:
    verdict = await judge(arker, "print('started', flush=True)\nwhile True: pass", "42", seconds=1)
    assert (verdict.passed, verdict.output) == (False, "started")
    assert "timeout" in verdict.reason


async def test_a_session_remembers(arker: AsyncArker) -> None:
    workshop = await Workshop.open(arker, STAGE="test")
    await workshop.step("mkdir -p build && cd build && export DONE=yes")
    assert await workshop.step("basename $PWD; echo $STAGE $DONE") == "build\ntest yes"


async def test_a_lost_reply_runs_nothing_twice(arker: AsyncArker, arker_emulator: Emulator) -> None:
    workshop = await Workshop.open(arker)
    with arker_emulator.faults.close(moment="after", operation="run") as fault:
        assert await workshop.step("echo x >> count; wc -l < count") == "1"
    assert fault.fired == 1
    assert len(arker_emulator.journal.executions()) == 1
    requests = [entry for entry in arker_emulator.journal.requests() if entry.operation == "run"]
    assert [entry.status for entry in requests] == [0, 200]
    assert len({entry.idempotency_key for entry in requests}) == 1


async def test_an_expired_url_is_renewed(arker: AsyncArker, arker_emulator: Emulator) -> None:
    workshop = await Workshop.open(arker)
    data = b"x" * (5 * 1024 * 1024)  # too large for an inline request
    with arker_emulator.faults.expire(operation="presigned_put") as fault:
        await workshop.save("data.bin", data)
    assert fault.fired == 1
    assert await workshop.load("data.bin") == data


async def test_a_step_s_key_lives_for_a_day(arker: AsyncArker, arker_emulator: Emulator) -> None:
    workshop = await Workshop.open(arker)
    step = "echo x >> count; wc -l < count"
    assert [await workshop.step(step, key="step-1") for _ in range(3)] == ["1", "1", "1"]
    arker_emulator.clock.shift(DAY + 1)
    assert await workshop.step(step, key="step-1") == "2"


async def test_candidates_run_at_the_same_time(arker: AsyncArker, arker_emulator: Emulator) -> None:
    programs = [f"open('mine', 'x').close(); print({number})" for number in range(8)]
    verdicts = await best_of(arker, programs, "5")
    assert [verdict.output for verdict in verdicts] == [str(number) for number in range(8)]
    assert [verdict.passed for verdict in verdicts].index(True) == 5
    assert len(arker_emulator.journal.forks()) == 8


async def test_nothing_is_left_when_it_is_cancelled(arker: AsyncArker, arker_emulator: Emulator) -> None:
    task = asyncio.create_task(judge(arker, "import time; time.sleep(60)", "42"))
    while not arker_emulator.journal.executions():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(await arker.list_vms()) == []
