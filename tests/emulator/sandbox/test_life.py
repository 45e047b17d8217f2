"""The end of a server, whatever its way, is the end of its VMs' processes; their files can outlive it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from arker.emulator.sandbox.base import RunSpec
from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from tests.emulator.sandbox.support import children, host_processes, parent_of, read, sh, unique_seconds, until, write

pytestmark = pytest.mark.anyio

_ROOT = Path(__file__).parents[3]

_SERVER = """
import asyncio, signal, sys, warnings
from pathlib import Path
from arker.emulator.sandbox.base import RunSpec
from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from arker.emulator.sandbox.plain import PlainProvider

# Tests that run in the background of a shell inherit it as ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

async def main():
    warnings.simplefilter("ignore")
    provider = await {"bubblewrap": BubblewrapProvider, "none": PlainProvider}[sys.argv[2]].open(Path(sys.argv[1]))
    for number in range(2):
        vm = await provider.create(f"vm-{number}")
        run = await vm.run(RunSpec(command=sys.argv[3]))
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def left_behind() -> Iterator[Path]:
    """Return a state directory that a killed server has left."""
    path = Path(tempfile.mkdtemp(prefix="arker-sandbox-"))
    yield path
    subprocess.run(["rm", "-rf", str(path)], check=True)


@pytest.mark.parametrize("isolation", ["bubblewrap", "none"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_nothing_survives_the_server(left_behind: Path, isolation: str, number: signal.Signals) -> None:
    marker = unique_seconds()
    command = (
        f"trap '' TERM INT HUP; sleep {marker} & setsid sleep {marker} & nohup sleep {marker} & "
        f"env -i /usr/bin/setsid -f /usr/bin/sleep {marker}; wait"
    )
    server = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", _SERVER, str(left_behind), isolation, command],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert server.stdout is not None
        assert await asyncio.to_thread(server.stdout.readline) == b"ready\n"
        await until(lambda: len(host_processes(f"sleep\0{marker}")) == 8)
        server.send_signal(number)
        await until(lambda: not host_processes(marker))
    finally:
        server.kill()
        await asyncio.to_thread(server.communicate)


async def test_a_bwrap_that_is_killed_from_outside(provider: BubblewrapProvider) -> None:
    vm = await provider.create("killed")
    marker = unique_seconds()
    run = await vm.run(RunSpec(command=f"setsid sleep {marker} & sleep {marker}"))
    await until(lambda: len(host_processes(f"sleep\0{marker}")) == 2)
    for pid in children("bwrap"):
        os.kill(pid, signal.SIGKILL)
    ended = await asyncio.wait_for(run.wait(), 60)
    assert ended.exit_code is None
    await until(lambda: not host_processes(marker))
    assert (await sh(vm, "echo again")).text == "again"
    await vm.delete()


def orphans() -> list[int]:
    """Return the processes of bwrap on this machine that nothing waits for."""
    return [pid for pid in host_processes("bwrap\0--args") if parent_of(pid) == 1]


async def test_a_cancelled_start_leaves_no_process(provider: BubblewrapProvider) -> None:
    vm = await provider.create("cancelled-start")
    before = set(orphans())  # those of a server of another test, which was killed
    for delay in (0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016):
        task = asyncio.create_task(vm.open_read("missing"))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await vm.close()
    await provider.spares.let_go()
    assert children("bwrap") == []
    await until(lambda: before.issuperset(orphans()))
    await vm.delete()


async def test_files_survive_and_can_be_adopted(place: Path) -> None:
    first = await BubblewrapProvider.open(place)
    vm = await first.create("durable")
    await write(vm, "file", b"kept")
    await first.close(keep_files=True)
    second = await BubblewrapProvider.open(place)
    vm = await second.adopt("durable")
    assert await read(vm, "file") == b"kept"
    await second.close()
    assert os.listdir(place) == []


async def test_many_vms_at_once(provider: BubblewrapProvider) -> None:
    vms = [await provider.create(f"crowd-{number}") for number in range(20)]
    ended = await asyncio.gather(*(sh(vm, f"echo {number}; hostname") for number, vm in enumerate(vms)))
    assert [each.text for each in ended] == [f"{number}\nvm" for number in range(20)]
    await asyncio.gather(*(vm.delete() for vm in vms))
