"""Runs: their output and status, what stays in the background, and how they are killed."""

from __future__ import annotations

import asyncio
import signal

import anyio
import pytest

from arker.emulator.sandbox.base import RunSpec, SandboxError
from arker.emulator.sandbox.host.sandbox import AgentSandbox
from tests.emulator.sandbox.support import (
    FIRST_THREAD_ENDED,
    descriptors,
    host_processes,
    rest_after,
    sh,
    unique_seconds,
    until,
    write,
)

pytestmark = pytest.mark.anyio


async def test_outputs_are_apart_and_the_status_is_the_commands(vm: AgentSandbox) -> None:
    ended = await sh(vm, "echo out; echo err >&2; exit 3")
    assert (ended.code, ended.stdout, ended.stderr) == (3, b"out\n", b"err\n")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("true", 0),
        ("no-such-command", 127),
        ("/etc", 126),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
        ("set -e; false; exit 9", 1),
        ("if", 2),
        ("echo 'a", 2),
        ("exec false", 1),
    ],
)
async def test_statuses(vm: AgentSandbox, command: str, code: int) -> None:
    assert (await sh(vm, command)).code == code


async def test_standard_input_is_empty_and_outputs_can_be_opened_by_name(vm: AgentSandbox) -> None:
    ended = await sh(vm, "cat; echo a >/dev/stdout; echo b >/dev/stderr; echo c | cat")
    assert (ended.stdout, ended.stderr) == (b"a\nc\n", b"b\n")


async def test_output_is_exact_to_the_byte(vm: AgentSandbox) -> None:
    every = "".join(f"\\x{n:02x}" for n in range(256))
    assert (await sh(vm, f"printf '{every}'")).stdout == bytes(range(256))


async def test_fifty_megabytes_of_output(vm: AgentSandbox) -> None:
    ended = await sh(vm, "head -c 50000000 /dev/zero | tr '\\0' x; head -c 50000000 /dev/zero >&2")
    assert ended.stdout == b"x" * 50_000_000
    assert ended.stderr == bytes(50_000_000)


async def test_output_beyond_the_limit_is_dropped_and_counted(vm: AgentSandbox) -> None:
    run = await vm.run(RunSpec(command="head -c 300000 /dev/zero; head -c 10 /dev/zero >&2", output_limit=1000))
    assert (await run.wait()).exit_code == 0
    assert (len(run.stdout()), len(run.stderr()), run.dropped()) == (1000, 10, 299_000)


async def test_output_can_be_read_while_the_run_goes_on(vm: AgentSandbox) -> None:
    run = await vm.run(RunSpec(command="echo one; sleep 30; echo two"))
    await until(lambda: run.stdout() == b"one\n")
    await run.kill()


async def test_a_command_of_three_megabytes(vm: AgentSandbox) -> None:
    ended = await sh(vm, "printf %s '" + "äx" * 1_000_000 + "' | md5sum; echo $LINENO")
    assert ended.text.splitlines()[1] == "1"
    assert ended.code == 0
    long = await sh(vm, "printf %s '" + "äx" * 1_000_000 + "'")
    assert long.stdout == ("äx" * 1_000_000).encode()


async def test_a_command_with_nul_is_refused(vm: AgentSandbox) -> None:
    with pytest.raises(SandboxError) as caught:
        await sh(vm, "echo a\0b")
    assert caught.value.code == "bad_request"


async def test_a_background_child_neither_delays_the_run_nor_dies_with_it(vm: AgentSandbox) -> None:
    marker = unique_seconds()
    assert (await sh(vm, f"sleep {marker} & echo hi")).text == "hi"
    await until(lambda: len(host_processes(f"sleep\0{marker}")) == 1)  # the run may end before it is `sleep`


async def test_a_background_child_that_writes_on_is_drained(vm: AgentSandbox) -> None:
    marker = unique_seconds()
    command = f"{{ for i in $(seq 50); do head -c 100000 /dev/zero; sleep 0.01; done; exec sleep {marker}; }} & echo hi"
    run = await vm.run(RunSpec(command=command))
    assert (await run.wait()).exit_code == 0
    size = len(run.stdout())
    # It gets to its end only if nothing makes it wait, and no SIGPIPE kills it.
    await until(lambda: len(host_processes(f"sleep\0{marker}")) == 1)
    assert len(run.stdout()) == size


async def test_a_server_lives_on_after_the_run_that_started_it(vm: AgentSandbox) -> None:
    await sh(vm, "nohup python3 -m http.server 8000 >/dev/null 2>&1 &")
    ended = await sh(vm, "until (exec 3<>/dev/tcp/127.0.0.1/8000) 2>/dev/null; do sleep 0.1; done; echo up")
    assert ended.text == "up"


@pytest.mark.parametrize(
    "command",
    [
        "sleep {}",
        "setsid sleep {}",
        "setsid setsid sleep {} & setsid nohup sleep {} & env -i /usr/bin/setsid -f /usr/bin/sleep {}; sleep {}",
        "(trap '' TERM INT HUP; sleep {})",
        "nohup sleep {} >/dev/null 2>&1 & disown; sleep {}",
        "python3 -c 'import os,time; os.fork() or (os.setsid(), os.fork() and os._exit(0)); time.sleep({})'",
        "setsid sh -c 'kill -STOP $$; sleep {}' & sleep {}",
    ],
)
async def test_kill_leaves_nothing(vm: AgentSandbox, command: str) -> None:
    marker = unique_seconds()
    run = await vm.run(RunSpec(command=command.format(*[marker] * 9)))
    await until(lambda: bool(host_processes(marker)))
    await asyncio.sleep(0.1)
    await asyncio.wait_for(run.kill(), 60)
    ended = await run.wait()
    assert (ended.exit_code, ended.reason) == (None, "killed")
    assert host_processes(marker) == []
    assert (await sh(vm, "echo well")).text == "well"


async def test_kill_ends_a_program_whose_first_thread_has_ended(vm: AgentSandbox) -> None:
    """For the system it looks like one that has ended."""
    await write(vm, "threads.py", FIRST_THREAD_ENDED.encode())
    run = await vm.run(RunSpec(command="setsid python3 threads.py & wait"))
    await sh(vm, "until [ -s alive ] && ps -o state= -C python3 | grep -q Z; do sleep 0.02; done")
    other = await vm.run(RunSpec(command="until [ -e go ]; do sleep 0.02; done; echo spared"))
    await run.kill()
    before, after = (await sh(vm, "wc -c < alive; sleep 0.3; wc -c < alive; touch go")).text.split()
    assert before == after
    assert (await other.wait()).exit_code == 0
    assert other.stdout() == b"spared\n"


async def test_kill_reaches_the_background_children_of_a_run_that_has_ended(vm: AgentSandbox) -> None:
    marker = unique_seconds()
    run = await vm.run(RunSpec(command=f"setsid sleep {marker} & sleep 0.1; exit 4"))
    assert (await run.wait()).exit_code == 4
    await run.kill()
    assert host_processes(marker) == []
    assert (await run.wait()).exit_code == 4
    await run.kill()


async def test_kill_spares_other_runs(vm: AgentSandbox) -> None:
    one = await vm.run(RunSpec(command="sleep 60"))
    two = await vm.run(RunSpec(command="sleep 0.5; echo there"))
    await one.kill()
    assert (await two.wait()).exit_code == 0
    assert two.stdout() == b"there\n"


# Linux shares the processor among sessions: a thousand that are never idle would leave nothing of it to other tests. So
# those that find no place try again after a moment, and there are some thousands of tries a second all the same.
BOMBS = {
    "shell": "b() { b | b & }; b; sleep 60",
    "sessions": (
        "exec python3 -c '\nimport os, time\nwhile True:"
        "\n  try: os.fork(); os.setsid()\n  except OSError: time.sleep(0.1)'"
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_fork_bomb_is_gone_soon(vm: AgentSandbox, other_vm: AgentSandbox, bomb: str) -> None:
    await sh(other_vm, "true")
    count = "set -- /proc/[0-9]*; echo $#"  # by the shell alone: the parts of a pipeline do not begin at once
    before = (await sh(vm, count)).text
    run = await vm.run(RunSpec(command=BOMBS[bomb]))
    await asyncio.sleep(0.7)
    assert (await sh(other_vm, "echo usable")).text == "usable"
    await asyncio.wait_for(run.kill(), 60)  # about 0.5 s on an idle machine
    # The last to be reaped may still be listed where the machine has much else to do.
    with anyio.fail_after(60):
        while (await sh(vm, count)).text != before:
            await asyncio.sleep(0.05)


async def test_signal_reaches_the_foreground(vm: AgentSandbox) -> None:
    run = await vm.run(RunSpec(command="trap 'echo caught; exit 7' INT; echo ready; sleep 30"))
    await until(lambda: run.stdout() == b"ready\n")
    await run.signal(signal.SIGINT)
    assert (await run.wait()).exit_code == 7
    assert run.stdout() == b"ready\ncaught\n"
    with pytest.raises(SandboxError):
        await run.signal(99)


@pytest.mark.parametrize(
    ("command", "number"),
    [
        ("sleep 60", signal.SIGINT),
        ("sleep 60; true", signal.SIGTERM),
        ("cat /dev/zero >/dev/null", signal.SIGINT),
        ("( sleep 60 )", signal.SIGINT),
        ("while :; do :; done", signal.SIGINT),
        ("exec sleep 60", signal.SIGTERM),
    ],
)
async def test_a_signal_right_after_the_start_is_not_lost(
    vm: AgentSandbox, command: str, number: signal.Signals
) -> None:
    for _ in range(5):
        run = await vm.run(RunSpec(command=command))
        await run.signal(number)
        assert (await asyncio.wait_for(run.wait(), 60)).exit_code == 128 + number


async def test_a_signal_right_after_the_start_finds_the_traps_of_the_command(vm: AgentSandbox) -> None:
    run = await vm.run(
        RunSpec(command="trap 'echo one' USR1; trap 'echo two; exit 5' USR2; while :; do sleep 0.02; done")
    )
    await run.signal(signal.SIGUSR1)
    await run.signal(signal.SIGUSR2)
    assert (await asyncio.wait_for(run.wait(), 60)).exit_code == 5
    assert run.stdout() == b"one\ntwo\n"


async def test_a_kill_does_not_wait_behind_a_signal(vm: AgentSandbox) -> None:
    run = await vm.run(RunSpec(command="trap '' INT; while :; do :; done"))
    await run.signal(signal.SIGINT)
    await run.signal(signal.SIGKILL)
    assert (await asyncio.wait_for(run.wait(), 60)).exit_code == 128 + signal.SIGKILL


async def test_kill_and_wait_may_be_called_by_many(vm: AgentSandbox) -> None:
    run = await vm.run(RunSpec(command="sleep 60"))
    waits = [asyncio.create_task(run.wait()) for _ in range(3)]
    waits.pop().cancel()
    await asyncio.sleep(0)
    await asyncio.gather(run.kill(), run.kill())
    assert {(await wait).reason for wait in waits} == {"killed"}


@pytest.mark.parametrize("command", ["kill -9 -1; sleep 5", "pkill -9 vm-agent; sleep 5"])
async def test_a_vm_recovers_when_its_processes_are_killed_from_inside(vm: AgentSandbox, command: str) -> None:
    await sh(vm, "echo kept > file")
    ended = await sh(vm, command)
    assert ended.code is None
    assert ended.exit.reason is not None
    assert (await sh(vm, "cat file")).text == "kept"


async def test_the_agent_cannot_be_killed_or_stopped_from_inside(vm: AgentSandbox) -> None:
    left = await vm.run(RunSpec(command="sleep 60"))
    signals = "for number in $(seq 64); do kill -$number 1 2>/dev/null; done"
    assert (await sh(vm, f"{signals}; sleep 0.1; echo alive")).text == "alive"
    assert (await sh(vm, "echo alive")).text == "alive"
    await left.kill()
    assert (await left.wait()).reason == "killed"  # and it had not ended before


async def test_a_vm_that_kills_all_its_processes_stays(vm: AgentSandbox) -> None:
    await sh(vm, "echo kept > /dev/shm/file; kill -9 -1; sleep 5")
    assert (await sh(vm, "cat /dev/shm/file")).text == "kept"


async def test_python_is_python3(vm: AgentSandbox) -> None:
    ended = await sh(vm, "for each in python python3; do $each -c 'import sys; print(sys.version, sys.prefix)'; done")
    one, other = ended.text.splitlines()
    assert one == other


async def test_killing_every_python_does_not_end_the_vm(vm: AgentSandbox) -> None:
    await sh(vm, "pkill -f python; pkill python3")
    assert (await sh(vm, "echo alive")).text == "alive"


async def test_a_killed_supervisor_takes_its_run_along_and_no_other(vm: AgentSandbox) -> None:
    marker = unique_seconds()
    other = await vm.run(RunSpec(command="sleep 1; echo other"))
    ended = await sh(vm, f"setsid sleep {marker} & sleep 0.1; kill -9 $PPID; sleep 5")
    assert ended.code is None
    await until(lambda: host_processes(marker) == [])
    assert (await other.wait()).exit_code == 0


async def test_a_stopped_vm_can_still_be_killed(vm: AgentSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arker.emulator.sandbox.host.supervised.STUCK", 0.3)
    run = await vm.run(RunSpec(command="echo now; kill -STOP -1; sleep 600"))
    await until(lambda: run.stdout() == b"now\n")
    await asyncio.sleep(0.05)
    await run.kill()
    assert (await run.wait()).exit_code is None
    assert (await sh(vm, "echo again")).text == "again"


async def test_a_cancelled_start_leaves_no_process(vm: AgentSandbox) -> None:
    await sh(vm, "true")
    marker = unique_seconds()
    for attempt in range(80):
        task = asyncio.create_task(vm.run(RunSpec(command=f"exec sleep {marker}")))
        await asyncio.sleep(attempt % 40 * 0.0001)
        task.cancel()
        result = (await asyncio.gather(task, return_exceptions=True))[0]
        if not isinstance(result, BaseException):
            await result.kill()
    await asyncio.sleep(0.1)
    await until(lambda: host_processes(marker) == [])


async def test_runs_that_are_killed_at_the_same_moment(vm: AgentSandbox) -> None:
    """Each has a supervisor that looks for processes while the others do."""
    marker = unique_seconds()
    for _ in range(5):
        runs = [await vm.run(RunSpec(command=f"setsid sleep {marker} & sleep {marker}")) for _ in range(6)]
        await until(lambda: len(host_processes(f"sleep\0{marker}")) == 12)
        await asyncio.gather(*(run.kill() for run in runs))
        assert host_processes(marker) == []


async def test_runs_leave_no_descriptors_behind(vm_alone: AgentSandbox) -> None:
    await rest_after(vm_alone, "true")
    before = descriptors()
    for _ in range(20):
        await rest_after(vm_alone, "true")
    assert descriptors() <= before


@pytest.mark.parametrize(
    "command",
    [
        "kill -STOP $(pgrep -o vm-agent)",
        "kill -STOP $PPID",
        "kill -STOP $PPID $(pgrep -o vm-agent)",
        "pkill -STOP vm-agent",
        "kill -STOP -1",
    ],
)
async def test_what_looks_after_runs_is_woken_when_it_has_been_stopped(vm: AgentSandbox, command: str) -> None:
    ended = await sh(vm, f"{command}; echo done")
    assert (ended.code, ended.text) == (0, "done")
    await sh(vm, "kill -STOP $(pgrep -o vm-agent)")
    await write(vm, "file", b"written")
    assert (await sh(vm, "cat file")).text == "written"
