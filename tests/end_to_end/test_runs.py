"""Runs in the foreground and in the background, on the embedded backend."""

from __future__ import annotations

import asyncio
from typing import get_args

import pytest

from arker import (
    AsyncArker,
    AsyncVM,
    ConflictError,
    DeadlineExceededError,
    NotFoundError,
    ResourceKind,
    Run,
    RunFailedError,
)
from tests.support.waiting import longer_and_longer

pytestmark = pytest.mark.anyio


async def finished(vm: AsyncVM, run_id: str) -> Run:
    while (run := await vm.get_run(run_id)).state == "running":
        await asyncio.sleep(0.02)
    return run


async def test_a_command_and_its_result(vm: AsyncVM) -> None:
    result = await vm.run("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.exit_code, result.state) == (b"out\n", b"err\n", 3, "completed")
    assert result.type == "completed"
    assert result.run_id is not None
    run = await vm.get_run(result.run_id)
    assert (run.stdout, run.stderr, run.exit_code, run.state) == (b"out\n", b"err\n", 3, "completed")
    assert run.command == "echo out; echo err >&2; exit 3"


async def test_output_is_exact_to_the_byte(vm: AsyncVM) -> None:
    everything = bytes(range(256)) * 64
    await vm.sync("data", everything)
    result = await vm.run("cat data; cat data >&2")
    assert result.stdout == result.stderr == everything
    assert result.stdout_encoding == "base64"
    assert (await vm.run("printf 'gr\\303\\274n'")).stdout_text == "grün"


async def test_a_list_of_arguments_is_quoted(vm: AsyncVM) -> None:
    nasty = ["a b", "$HOME", "'", '"', "*", ";", "", "ü", "\n"]
    result = await vm.run(["printf", "%s\\0", *nasty])
    assert result.stdout.decode().split("\0")[:-1] == nasty


async def test_a_session_keeps_its_directory_and_environment(vm: AsyncVM) -> None:
    await vm.run("mkdir -p /tmp/place; cd /tmp/place; export COLOUR='deep blue'")
    result = await vm.run("pwd; echo $COLOUR")
    assert result.stdout_text.splitlines() == ["/tmp/place", "deep blue"]
    await vm.refresh()
    assert vm.sessions is not None
    assert vm.sessions[0].cwd == "/tmp/place"


async def test_check(vm: AsyncVM) -> None:
    assert (await vm.run("true", check=True)).exit_code == 0
    with pytest.raises(RunFailedError) as caught:
        await vm.run("echo kept; echo why >&2; exit 7", check=True)
    error = caught.value
    assert (error.stdout, error.stderr, error.exit_code) == (b"kept\n", b"why\n", 7)
    assert "why" in str(error)


async def test_a_timeout_kills_what_the_command_started(vm: AsyncVM) -> None:
    longer = longer_and_longer(0.3)
    while True:
        seconds = next(longer)
        result = await vm.run("echo before; setsid sleep 600 & trap '' TERM; sleep 600", timeout=seconds)
        assert result.state == "failed"
        if result.stdout:
            break
    assert result.run_id is not None
    assert "timeout" in ((await vm.get_run(result.run_id)).fail_reason or "")  # generation 1 tells it there only
    assert result.stdout == b"before\n"
    assert result.exit_code == -1
    left = await vm.run("for f in /proc/[0-9]*/comm; do cat $f; done 2>/dev/null | grep -c sleep")
    assert left.stdout == b"0\n"
    longer = longer_and_longer(0.2)
    while True:
        seconds = next(longer)
        with pytest.raises(RunFailedError) as caught:
            await vm.run("echo partial; sleep 600", timeout=seconds, check=True)
        if caught.value.stdout:
            break
    assert caught.value.stdout == b"partial\n"


async def test_a_deadline_leaves_the_command_running(vm: AsyncVM) -> None:
    command = "until [ -e go ]; do sleep 0.02; done; echo done > finished"
    longer = longer_and_longer(0.2)
    while True:
        seconds = next(longer)
        with pytest.raises(DeadlineExceededError) as caught:
            await vm.run(command, deadline=seconds, idempotency_key="sleeper")
        if caught.value.outcome != "not_started":
            break
    assert caught.value.outcome == "unknown"
    assert caught.value.idempotency_key == "sleeper"
    await vm.sync("go", b"")
    # The same key with the same request waits for that run instead of starting another.
    result = await vm.run(command, idempotency_key="sleeper")
    assert result.exit_code == 0
    assert await vm.sync("finished") == b"done\n"
    assert len([run for run in await vm.list_runs() if run.command and "finished" in run.command]) == 1


async def test_the_background(vm: AsyncVM) -> None:
    started = await vm.run("echo one; until [ -e go ]; do sleep 0.02; done; echo two", background=True)
    assert started.type == "background"
    assert started.state == "running"
    while b"one" not in (early := await vm.get_run(started.run_id)).stdout:
        await asyncio.sleep(0.01)
    assert early.state == "running"
    assert early.exit_code is None
    await vm.sync("go", b"")
    run = await finished(vm, started.run_id)
    assert (run.stdout, run.state, run.exit_code) == (b"one\ntwo\n", "completed", 0)
    assert run.completed_at is not None


async def test_cancel(vm: AsyncVM) -> None:
    started = await vm.run("echo early; sleep 300", background=True)
    while not (await vm.get_run(started.run_id)).stdout:
        await asyncio.sleep(0.01)
    assert (await vm.cancel_run(started.run_id)).cancelled is True
    run = await vm.get_run(started.run_id)
    assert (run.state, run.stdout, run.exit_code) == ("cancelled", b"early\n", None)
    assert (await vm.run("echo usable")).stdout == b"usable\n"


async def test_list_runs(vm: AsyncVM) -> None:
    for number in range(3):
        await vm.run(f"echo {number}")
    started = await vm.run("sleep 300", background=True)
    runs = await vm.list_runs()
    assert [run.command for run in runs] == ["sleep 300", "echo 2", "echo 1", "echo 0"]
    assert [run.run_id for run in await vm.list_runs(state="running")] == [started.run_id]
    first = await vm.list_runs(limit=3)
    assert len(first) == 3
    rest = await vm.list_runs(limit=3, cursor=first.next_cursor)
    assert [run.command for run in rest] == ["echo 0"]
    assert rest.next_cursor is None
    await vm.refresh()
    assert vm.state == "running"
    await vm.cancel_run(started.run_id)


async def test_what_there_is_not(ar: AsyncArker, vm: AsyncVM) -> None:
    with pytest.raises(NotFoundError):
        await vm.get_run("no-such-run")
    with pytest.raises(NotFoundError):
        await vm.cancel_run("no-such-run")
    with pytest.raises(NotFoundError):
        await ar.vm("no-such-vm").list_runs()
    with pytest.raises(NotFoundError):
        await vm.run("true", session_id="no-such-session")


async def test_the_same_key_runs_once(vm: AsyncVM) -> None:
    command = "echo x >> count; sleep 0.1; cat count"
    results = await asyncio.gather(*(vm.run(command, idempotency_key="k") for _ in range(4)))
    assert {result.stdout for result in results} == {b"x\n"}
    assert len({result.run_id for result in results}) == 1
    with pytest.raises(ConflictError) as caught:
        await vm.run("echo other", idempotency_key="k")
    assert str(results[0].run_id) in caught.value.message


@pytest.mark.needs("arguments of 0.5")
async def test_the_rest_of_the_arguments_are_accepted(vm: AsyncVM) -> None:
    kinds = list(get_args(ResourceKind))
    result = await vm.run("echo hi", session_idx=0, acquire=kinds, release="cpu,memory", end_symbol="auto")
    assert result.stdout == b"hi\n"


async def test_a_signal_reaches_what_the_session_is_running(vm: AsyncVM) -> None:
    started = await vm.run("trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.02; done", background=True)
    while b"ready" not in (await vm.get_run(started.run_id)).stdout:
        await asyncio.sleep(0.01)
    acknowledged = await vm.run("", signal="INT")
    assert acknowledged.run_id is None
    run = await finished(vm, started.run_id)
    assert (run.stdout, run.exit_code) == (b"ready\ncaught\n", 5)


@pytest.mark.needs("runs that leave something")
async def test_a_server_started_by_one_run_lives_on(vm: AsyncVM) -> None:
    await vm.sync("index.html", b"served")
    started = await vm.run("nohup python3 -m http.server 8000 --bind 127.0.0.1 > log 2>&1 & echo started")
    assert started.stdout == b"started\n"
    fetch = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/index.html').read().decode())"
    reached = await vm.run(f'until python3 -c "{fetch}" 2>/dev/null; do sleep 0.1; done')
    assert reached.stdout == b"served\n"
