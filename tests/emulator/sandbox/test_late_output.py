"""Output that comes after the command's own end: waited for while a filter that it goes through is at work."""

from __future__ import annotations

import asyncio
import time

import pytest

from arker.emulator.sandbox.base import RunSpec
from arker.emulator.sandbox.host.sandbox import AgentSandbox
from tests.emulator.sandbox.support import sh, until

pytestmark = pytest.mark.anyio

SLOW = "python3 -c 'import sys, time; text = sys.stdin.read(); time.sleep(0.3); print(text.upper())'"


@pytest.mark.parametrize(
    ("command", "stdout"),
    [
        (f"echo hello > >({SLOW})", b"HELLO\n\n"),
        (f"echo hello > >(cat | {SLOW} | cat)", b"HELLO\n\n"),
        (
            'exec > >(while read -r l; do sleep 0.1; echo "[$l]"; done); for i in 1 2 3; do echo $i; done',
            b"[1]\n[2]\n[3]\n",
        ),
        (f"echo hello 2>&1 > >({SLOW}); exit 3", b"HELLO\n\n"),
        (f"echo hello | tee >({SLOW}) >/dev/null", b"HELLO\n\n"),
        (f"exec 3>&1; echo hello 2> >({SLOW} >&3) 1>&2", b"HELLO\n\n"),
    ],
)
async def test_a_filter_is_waited_for(vm: AgentSandbox, command: str, stdout: bytes) -> None:
    run = await vm.run(RunSpec(command=command, late_output=600.0))
    ended = await run.wait()
    assert (run.stdout(), ended.cut) == (stdout, False)
    assert ended.exit_code == (3 if command.endswith("3") else 0)


@pytest.mark.parametrize(
    "command",
    [
        "sleep 600 & echo hi",
        "nohup sleep 600 & echo hi",
        "(sleep 600; echo late) & echo hi",
        "tail -f /dev/null | grep x & echo hi",
        "python3 -c 'import os, time; os.pipe(); time.sleep(600)' & echo hi; sleep 0.3",
        "exec 3<> <(:); mkfifo f; cat f & echo hi",
    ],
)
async def test_what_is_in_the_background_is_not(vm: AgentSandbox, command: str) -> None:
    await sh(vm, "true")
    run = await vm.run(RunSpec(command=command, late_output=600.0))
    ended = await asyncio.wait_for(run.wait(), 60)  # by far less than what a wrong answer would wait
    assert (ended.exit_code, ended.cut) == (0, False)
    assert run.stdout() == b"hi\n"
    await run.kill()


async def test_the_bound_cuts_it_and_says_so(vm: AgentSandbox) -> None:
    # It ends when the first of its output has been written.
    command = "echo hello > >(cat; : > done; sleep 600; echo late); until [ -e done ]; do sleep 0.02; done"
    await sh(vm, "true")
    begin = time.monotonic()
    run = await vm.run(RunSpec(command=command, late_output=0.3))
    ended = await run.wait()
    assert time.monotonic() - begin >= 0.3
    assert (ended.exit_code, ended.cut, run.stdout()) == (0, True, b"hello\n")
    await run.kill()


async def test_without_a_bound_nothing_is_waited_for(vm: AgentSandbox) -> None:
    run = await vm.run(RunSpec(command="echo hello > >(sleep 600; cat)", late_output=0.0))
    ended = await asyncio.wait_for(run.wait(), 60)
    assert (ended.exit_code, ended.cut, run.stdout()) == (0, False, b"")
    await run.kill()


async def test_a_kill_does_not_wait_for_the_bound(vm: AgentSandbox) -> None:
    run = await vm.run(RunSpec(command="echo $$ > pid; echo hello > >(cat; sleep 600)", late_output=600.0))
    waiting = asyncio.ensure_future(run.wait())
    await until(lambda: run.stdout() == b"hello\n")
    await sh(vm, "while kill -0 $(cat pid) 2>/dev/null; do sleep 0.02; done")  # the command itself has ended
    await asyncio.sleep(0.2)
    await run.kill()
    assert (await asyncio.wait_for(waiting, 60)).exit_code == 0
