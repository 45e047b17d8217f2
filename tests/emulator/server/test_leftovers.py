"""In whatever way a server is ended, alone or with its parent: no process, directory, mount or socket stays."""

# ruff: noqa: ASYNC222 - nothing else runs on the loop while these tests block it

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from arker.emulator import Emulator, EmulatorOptions
from arker.emulator._state import StateDir
from arker.emulator.options import Isolation
from tests.emulator.sandbox.support import until
from tests.emulator.server.support import ISOLATION, Api
from tests.support.children import child
from tests.support.forked import start
from tests.support.leftovers import alive, below, mounts_with, with_text
from tests.support.length import cases, times

pytestmark = pytest.mark.anyio

ROOT = str(Path(__file__).parents[3])
PATIENCE = 60.0  # on a loaded machine; it takes a tenth of a second on an idle one

PARENT = """
import json, sys
from pathlib import Path
from arker.emulator import Emulator, EmulatorOptions
emulator = Emulator(EmulatorOptions(isolation=sys.argv[1], state_parent=Path(sys.argv[2])))
emulator.launch()
emulator.wait_ready()
print(json.dumps({"url": emulator.url, "api_key": emulator.api_key, "pid": emulator.pid}), flush=True)
sys.stdin.readline()
emulator._lifeline.close()
sys.stdin.readline()
"""


async def busy(said: dict[str, Any]) -> set[int]:
    """Have VMs run what does not want to end; the processes below the server come back."""
    async with aiohttp.ClientSession() as session:
        api = Api(session, said["url"], said["api_key"])
        for _ in range(2):
            vm = (await api.fork())["vm_id"]
            ignore = "trap '' TERM INT HUP QUIT; echo up"
            run = await api.background(
                vm, f'(setsid bash -c "{ignore}; while :; do sleep 1; done" &); {ignore}; sleep 600'
            )
            await api.printed(vm, run, "up\nup")
            await api.run(vm, "mkdir -p closed/in; touch closed/in/it; chmod 0 closed", session_id=await idle(api, vm))
    return below(said["pid"])


async def idle(api: Api, vm: str) -> str:
    return str((await api.call("POST", f"/v1/vms/{vm}/sessions", {})).json["session_id"])


async def require_nothing(said: dict[str, Any], pids: set[int], place: Path) -> None:
    await until(lambda: not alive(pids), PATIENCE)
    await until(lambda: list(place.iterdir()) == [], PATIENCE)
    await until(lambda: with_text(str(place)) == set(), PATIENCE)  # the guard
    assert mounts_with(str(place)) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(said["url"][:-4].rpartition(":")[2])))


@pytest.mark.parametrize(
    ("isolation", "number"),
    cases(
        [
            *((ISOLATION, number) for number in (signal.SIGKILL, signal.SIGTERM)),
            *(("none", number) for number in (signal.SIGKILL, signal.SIGINT, signal.SIGHUP)),
        ],
        rest=[(ISOLATION, signal.SIGINT), (ISOLATION, signal.SIGHUP), ("none", signal.SIGTERM)],
    ),
)
async def test_a_signal_to_a_server_that_was_started_by_hand(
    place: Path, isolation: Isolation, number: signal.Signals
) -> None:
    arguments = ["-m", "arker.emulator", "--isolation", isolation, "--state-parent", str(place)]
    with child([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        said = {**json.loads(server.stdout.readline()), "pid": server.pid}
        pids = await busy(said)
        server.send_signal(number)
        # What cleans up does not hold its output open, so that a reader comes to its end.
        server.stdout.read()
        server.stderr.read()
        server.wait(PATIENCE)
    await require_nothing(said, pids, place)


@pytest.mark.parametrize(
    ("isolation", "case"),
    cases(
        [(ISOLATION, "parent"), (ISOLATION, "both"), ("none", "both"), ("none", "stdin"), ("none", "group")],
        rest=[(ISOLATION, "stdin"), (ISOLATION, "group"), ("none", "parent")],
    ),
)
async def test_the_end_of_a_parent_and_of_both_at_once(place: Path, isolation: Isolation, case: str) -> None:
    surroundings: dict[str, Any] = {"env": os.environ, "stderr": subprocess.DEVNULL, "session": True}
    with start("code", PARENT, isolation, str(place), backends=True, **surroundings) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        said = json.loads(parent.stdout.readline())
        pids = await busy(said) | {said["pid"]}
        if case == "stdin":
            parent.stdin.write(b"\n")
            parent.stdin.flush()
            await until(lambda: not alive(pids), PATIENCE)
        elif case == "group":
            os.killpg(parent.pid, signal.SIGKILL)
        elif case == "both":
            os.kill(said["pid"], signal.SIGSTOP)  # so that it cannot notice that the parent has gone
            parent.kill()
            os.kill(said["pid"], signal.SIGKILL)
        parent.kill()
        parent.stdout.read()
    await require_nothing(said, pids, place)


async def test_a_server_that_starts_removes_what_dead_ones_have_left(place: Path) -> None:
    state = StateDir(place)
    dead = state.path
    (dead / "vms" / "one").mkdir(parents=True)
    (dead / "vms" / "one").chmod(0)
    # Linux shows the command line of a program a moment after it has been started.
    await until(lambda: with_text(str(dead)) != set(), PATIENCE)
    (guard,) = with_text(str(dead))
    os.kill(guard, signal.SIGKILL)
    os.waitpid(guard, 0)
    state.leave()
    other = place / "arker-emulator-examples"  # another program's
    other.mkdir()
    (other / "notes").write_text("mine")
    link = place / "arker-emulator-link"
    link.symlink_to(other)
    held = StateDir(place)
    async with Emulator(EmulatorOptions(isolation=ISOLATION, state_parent=place)):
        await until(lambda: not dead.exists(), PATIENCE)
        async with Emulator(EmulatorOptions(isolation=ISOLATION, state_parent=place)):
            assert len(list(place.iterdir())) == 5
    assert sorted(place.iterdir()) == sorted([other, link, held.path])
    assert (other / "notes").read_text() == "mine"
    held.remove()
    (other / "notes").unlink()
    other.rmdir()
    link.unlink()


async def test_many_that_start_at_once_do_not_take_each_other_s_directory(place: Path) -> None:
    emulators = [Emulator(EmulatorOptions(isolation="none", state_parent=place)) for _ in range(times(6, suite=3))]
    for emulator in emulators:
        emulator.launch()
    for emulator in emulators:
        await emulator.await_ready()
        async with aiohttp.ClientSession() as session:
            await Api(session, emulator.url, emulator.api_key).fork()
    for emulator in emulators:
        await emulator.aclose()


async def test_the_guard_holds_nothing_and_goes_at_once(place: Path) -> None:
    others = with_text("arker-emulator-guard")  # of servers that other tests share
    async with Emulator(EmulatorOptions(isolation=ISOLATION, state_parent=place)) as emulator:
        (guard,) = with_text("arker-emulator-guard") & below(os.getpid()) - others
        process = Path(f"/proc/{guard}")
        descriptors = {fd.name: os.readlink(fd) for fd in (process / "fd").iterdir() if int(fd.name) < 10}
        assert descriptors.pop("0").startswith("pipe:")
        assert descriptors == {"1": "/dev/null", "2": "/dev/null"}
        assert os.getsid(guard) == guard
        assert os.readlink(process / "cwd") == "/"
        assert (process / "stat").read_text().rpartition(")")[2].split()[4] == "0"  # no terminal
        assert emulator.api_key.encode() not in (process / "environ").read_bytes()
    assert not process.exists()
