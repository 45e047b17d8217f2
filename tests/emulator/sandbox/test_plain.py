"""VMs without isolation: the same behaviour, with a warning, in a plain directory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from arker.emulator.sandbox.base import RunSpec, SandboxError
from arker.emulator.sandbox.host.sandbox import AgentSandbox
from arker.emulator.sandbox.plain import PlainProvider, UnprotectedWarning
from tests.emulator.sandbox.support import (
    FIRST_THREAD_ENDED,
    host_processes,
    read,
    sh,
    state_of,
    unique_seconds,
    until,
    write,
)
from tests.support.leftovers import alive, below
from tests.support.length import times

pytestmark = pytest.mark.anyio


@pytest.fixture
async def plain(place: Path) -> AsyncIterator[PlainProvider]:
    with pytest.warns(UnprotectedWarning):
        provider = await PlainProvider.open(place)
    yield provider
    await provider.close()


@pytest.fixture
async def vm(plain: PlainProvider) -> AgentSandbox:
    return await plain.create("one")


async def test_home_tmpdir_and_directories_are_mapped(vm: AgentSandbox) -> None:
    ended = await sh(vm, "cd; pwd; cd $TMPDIR; touch t; mkdir d; cd d; export A=1")
    assert ended.stdout.decode() == f"{vm.tree.path}/home/user\n"
    assert ended.exit.cwd == "/tmp/d"
    assert await read(vm, "/tmp/t") == b""
    assert (await sh(vm, "pwd", cwd="/tmp/d")).text == f"{vm.tree.path}/tmp/d"
    assert (await sh(vm, "cd /usr")).exit.cwd == "/usr"


async def test_dots_do_not_lead_out_of_the_directory(vm: AgentSandbox) -> None:
    await write(vm, "../../../../../tmp/file", b"x")
    assert (vm.tree.path / "tmp/file").read_bytes() == b"x"
    with pytest.raises(SandboxError):
        await read(vm, "../../../../../etc/passwd")


async def test_no_environment_of_the_server(vm: AgentSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARKER_API_KEY", "secret-of-the-server")
    assert "secret" not in (await sh(vm, "env; cat /proc/$PPID/environ")).text


async def test_kill_leaves_nothing(vm: AgentSandbox) -> None:
    marker = unique_seconds()
    run = await vm.run(
        RunSpec(command=f"trap '' TERM; setsid sleep {marker} & (env -i setsid -f sleep {marker}); wait")
    )
    await until(lambda: len(host_processes(f"sleep\0{marker}")) == 2)
    await run.kill()
    assert host_processes(marker) == []
    assert (await run.wait()).exit_code is None


async def test_many_processes_are_killed_without_touching_others(vm: AgentSandbox) -> None:
    marker, other = unique_seconds(), unique_seconds()
    bystander = await asyncio.create_subprocess_exec("sleep", other)
    run = await vm.run(RunSpec(command=f"for i in $(seq 100); do sleep {marker} & done; wait"))
    await until(lambda: len(host_processes(f"sleep\0{marker}")) == 100)
    await run.kill()
    assert host_processes(marker) == []
    assert state_of(bystander.pid) in "RSD"
    bystander.kill()
    await bystander.wait()


async def test_fork_and_delete(plain: PlainProvider, vm: AgentSandbox) -> None:
    await sh(vm, "echo x > file; mkdir closed; touch closed/file; chmod 000 closed")
    copy = await plain.create("two", source=vm)
    assert await read(copy, "file") == b"x\n"
    assert (await sh(copy, "pwd")).text == f"{copy.tree.path}/home/user"
    await sh(copy, "mkdir -p a/b; chmod 000 a/b a")
    await copy.delete()
    assert not copy.tree.path.exists()


async def test_a_directory_of_an_earlier_process(plain: PlainProvider, vm: AgentSandbox) -> None:
    await sh(vm, "echo x > file")
    await vm.close()
    again = await plain.adopt("one")
    assert await read(again, "file") == b"x\n"


async def test_ending_vms_leaves_no_process_even_a_stopped_one(plain: PlainProvider) -> None:
    before = below(os.getpid())
    for round_ in range(times(12, suite=3)):
        vms = [await plain.create(f"many-{round_}-{number}") for number in range(4)]
        for vm in vms:
            for _ in range(3):
                await vm.run(RunSpec(command="trap '' TERM; (setsid sleep 600 &); sleep 600"))
        await until(lambda: len(below(os.getpid()) - before) > 4 * 3 * 2)
        pids = below(os.getpid()) - before
        await asyncio.gather(*[vm.delete() for vm in vms])
        assert alive(pids) == set()


async def test_an_agent_that_does_not_clean_up_is_killed_with_everything(
    plain: PlainProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arker.emulator.sandbox.host.machine._CLEAN_UP", 0.1)
    before = below(os.getpid())
    vm = await plain.create("stuck")
    await write(vm, "threads.py", FIRST_THREAD_ENDED.encode())
    await vm.run(RunSpec(command="setsid python3 threads.py & wait"))
    await until(lambda: any(state_of(pid) == "Z" for pid in below(os.getpid()) - before))
    await vm.run(RunSpec(command="(setsid sleep 600 &); kill -STOP $(ps -o ppid= -p $PPID); sleep 600"))
    await until(lambda: any(state_of(pid) == "T" for pid in below(os.getpid()) - before))
    pids = below(os.getpid()) - before
    await vm.delete()
    assert alive(pids) == set()
