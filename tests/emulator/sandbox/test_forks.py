"""Copies of VMs, and their end."""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
import time

import pytest

from arker.emulator.sandbox.base import RunSpec, SandboxError
from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from arker.emulator.sandbox.host.sandbox import AgentSandbox
from tests.emulator.sandbox.support import host_processes, read, sh, unique_seconds, until, write
from tests.support.length import times
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


async def test_a_long_chain(provider: BubblewrapProvider) -> None:
    last = times(40, suite=15)
    vms = [await provider.create("chain-0")]
    for generation in range(1, last + 1):
        if generation % 5 == 0:
            await sh(vms[-1], f"echo {generation} >> log; ln -sf {generation} link")
        vms.append(await provider.create(f"chain-{generation}", source=vms[-1]))
    for number in (0, 4, 5, 7, last // 2, last):
        seen = [str(generation) for generation in range(5, number + 2, 5)]
        script = "touch log link; cat log; readlink link"
        assert (await sh(vms[number], script)).text.split() == (seen + seen[-1:])
    await asyncio.gather(*(vm.delete() for vm in vms))


async def test_a_copy_is_of_one_moment_and_the_original_goes_on(provider: BubblewrapProvider, vm: AgentSandbox) -> None:
    # Each step lengthens two files; a copy that was not made in one moment would show more than one step.
    script = "while true; do echo >> a; echo >> b; done"
    run = await vm.run(RunSpec(command=f"setsid bash -c '{script}' & wait"))
    await until((vm.tree.path / "home/user/b").exists)
    for number in range(5):
        copy = await provider.create(f"moment-{number}", source=vm)
        a, b = [len(await read(copy, name)) for name in "ab"]
        assert 0 <= a - b <= 1
        assert int((await sh(copy, "ps -e --no-headers | wc -l")).text) < 8
        await copy.delete()
    before = await read(vm, "b")
    await until(lambda: (vm.tree.path / "home/user/b").stat().st_size > len(before))
    await run.kill()


async def test_what_was_stopped_stays_stopped(provider: BubblewrapProvider, vm: AgentSandbox) -> None:
    run = await vm.run(
        RunSpec(command='sleep 600 & until [ "$(ps -o comm= $!)" = sleep ]; do :; done; kill -STOP $!; wait')
    )
    look = "ps -o state= -C sleep"
    await sh(vm, f'until [ "$({look})" = T ]; do sleep 0.02; done')
    copy = await provider.create("stopped", source=vm)
    assert (await sh(vm, look)).text == "T"
    await run.kill()
    await copy.delete()


async def test_unwritten_uploads_are_not_copied(provider: BubblewrapProvider, vm: AgentSandbox) -> None:
    writer = await vm.open_write("file", 1)
    copy = await provider.create("uploads", source=vm)
    assert (await sh(copy, "ls -A")).text == ""
    await writer.commit()
    await copy.delete()


async def test_everything_of_a_file_is_copied(provider: BubblewrapProvider, vm: AgentSandbox) -> None:
    await sh(
        vm,
        "echo x > one; ln one two; ln -s one soft; mkfifo fifo; chmod 4751 one; touch -d '2001-02-03' old; "
        "mkdir -p closed/inside; echo y > closed/inside/file; chmod 000 closed/inside closed; : > $'odd\\xff'",
    )
    copy = await provider.create("everything", source=vm)
    listing = (
        "chmod 755 closed closed/inside; find . -printf '%P %y %m %n %l\\n' | sort; stat -c %Y old; cat closed/*/*"
    )
    assert (await sh(copy, listing)).stdout == (await sh(vm, listing)).stdout
    await copy.delete()


async def test_closed_directories_can_be_deleted(provider: BubblewrapProvider) -> None:
    vm = await provider.create("closed")
    await sh(vm, "mkdir -p a/b; touch a/b/c; chmod 000 a/b a; chmod 000 /")
    copy = await provider.create("closed-copy", source=vm)
    await vm.delete()
    await copy.delete()
    assert not vm.tree.path.exists()
    assert not copy.tree.path.exists()


async def test_delete_ends_every_process_and_later_use_is_refused(provider: BubblewrapProvider) -> None:
    vm = await provider.create("short-lived")
    marker = unique_seconds()
    run = await vm.run(RunSpec(command=f"setsid sleep {marker} & sleep {marker}"))
    await until(lambda: len(host_processes(f"sleep\0{marker}")) == 2)
    await vm.delete()
    assert host_processes(marker) == []
    assert (await run.wait()).exit_code is None
    with pytest.raises(SandboxError) as caught:
        await sh(vm, "true")
    assert caught.value.code == "not_found"


async def test_ids_are_checked(provider: BubblewrapProvider, vm: AgentSandbox) -> None:
    for bad in ("", ".", "..", "a/b", "a\0", "-rf", vm.tree.path.name):
        with pytest.raises(SandboxError):
            await provider.create(bad)
    with pytest.raises(SandboxError):
        await provider.adopt("never-made")


async def test_a_cancelled_copy_leaves_nothing(provider: BubblewrapProvider, vm: AgentSandbox) -> None:
    await sh(vm, "for i in $(seq 300); do echo $i > $i; done")
    for delay in (0, 0.001, 0.003, 0.006, 0.01, 0.015, 0.02):
        task = asyncio.create_task(provider.create("cancelled", source=vm))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if task.cancelled():
            assert not vm.tree.path.with_name("cancelled").exists()
        else:
            await task.result().delete()
    assert (await sh(vm, "echo well")).text == "well"


async def test_latencies(provider: BubblewrapProvider, vm: AgentSandbox) -> None:
    """The fastest of a few counts: it catches what has become slower by a factor.

    On a busy machine it may take as many starts of an interpreter, which are measured beside it, as fit into the bound
    on an idle one.
    """
    await write(vm, "file", os.urandom(10_000))
    await sh(vm, "true")
    bounds = {"run": 0.05, "fork": 0.2, "start": 0.4}
    fastest = dict.fromkeys((*bounds, "interpreter"), math.inf)

    def too_slow() -> bool:
        busy = max(1.0, fastest["interpreter"] / 0.01)
        return any(fastest[step] >= bound * busy for step, bound in bounds.items())

    give_up = time.perf_counter() + PATIENCE
    number = 0
    while number < 5 or (too_slow() and time.perf_counter() < give_up):
        number += 1
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)  # noqa: ASYNC221
        fastest["interpreter"] = min(fastest["interpreter"], time.perf_counter() - begin)
        begin = time.perf_counter()
        await sh(vm, "true")
        fastest["run"] = min(fastest["run"], time.perf_counter() - begin)
        begin = time.perf_counter()
        copy = await provider.create(f"quick-{number}", source=vm)
        fastest["fork"] = min(fastest["fork"], time.perf_counter() - begin)
        begin = time.perf_counter()
        await sh(copy, "true")
        fastest["start"] = min(fastest["start"], time.perf_counter() - begin)
        await copy.delete()
    assert not too_slow(), fastest


SPAWNING = """
import subprocess, threading
def spawn():
    while True:
        subprocess.run(["/bin/true"])
for _ in range(4):
    threading.Thread(target=spawn).start()
print("begun", flush=True)
"""


async def test_a_vm_in_which_processes_are_started_by_vfork(provider: BubblewrapProvider, vm: AgentSandbox) -> None:
    await write(vm, "spawn.py", SPAWNING.encode())
    run = await vm.run(RunSpec(command="python3 spawn.py & python3 spawn.py & wait"))
    await until(lambda: run.stdout() == b"begun\n" * 2)
    for number in range(times(50, suite=10)):
        copy = await provider.create(f"spawning-{number}", source=vm)
        await copy.delete()
    assert (await sh(vm, "pgrep -f spawn.py | wc -l")).text != "0"
    await run.kill()


DEEP = """
import os
os.mkdir("top")
os.chdir("top")
for _ in range(300):
    os.mkdir("d" * 50)
    os.chdir("d" * 50)
with open("leaf", "w") as file:
    file.write("deep")
os.link("leaf", "other")
os.link("leaf", os.path.expanduser("~/third"))
os.symlink("x" * 4000, "link")
os.mkfifo("fifo")
os.chmod("leaf", 0o4640)
os.utime("leaf", ns=(1, 2))
with open("sparse", "w") as file:
    file.truncate(1 << 30)
    os.pwrite(file.fileno(), b"end", (1 << 30) - 3)
os.makedirs("closed/inside")
os.chmod("closed", 0)
os.utime(".", ns=(3, 4))
"""
LOOK = """
import os, sys
os.chdir("top")
for _ in range(300):
    os.chdir("d" * 50)
for name in [".", *sorted(os.listdir())]:
    s = os.lstat(name)
    print(name, oct(s.st_mode), s.st_nlink, s.st_size if name != "." else "", s.st_mtime_ns, s.st_blocks < 100)
print(open("leaf").read(), len(os.readlink("link")), os.path.samefile("leaf", os.path.expanduser("~/third")))
with open("sparse", "rb") as file:
    file.seek(-3, 2)
    print(file.read())
"""


async def test_paths_longer_than_a_system_call_takes(provider: BubblewrapProvider) -> None:
    vm = await provider.create("deep")
    await write(vm, "deep.py", DEEP.encode())
    await write(vm, "look.py", LOOK.encode())
    made = await sh(vm, "python3 deep.py && python3 look.py")
    assert made.stderr == b""
    assert "True" in made.text
    copy = await provider.create("deep-copy", source=vm)
    looked = await sh(copy, "python3 look.py; ls -A ~")
    assert looked.text == made.text + "\n" + (await sh(vm, "ls -A ~")).text
    await vm.delete()
    await copy.delete()
    assert not copy.tree.path.exists()
