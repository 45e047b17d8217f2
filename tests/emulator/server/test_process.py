"""The server's process: start, end, death of either side, and what must not be left behind."""

# ruff: noqa: ASYNC221 - nothing else runs on the loop while these tests block it

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from arker.emulator import Emulator, EmulatorOptions
from arker.errors import EmulatorError
from tests.emulator.server.support import ISOLATION, Api
from tests.support import leftovers
from tests.support.children import child
from tests.support.forked import start

pytestmark = pytest.mark.anyio

ROOT = str(Path(__file__).parents[3])

# A parent that says where its server is, and waits.
PARENT = """
import json, sys, time
from pathlib import Path
from arker.emulator import Emulator, EmulatorOptions
emulator = Emulator(EmulatorOptions(isolation=sys.argv[1], state_parent=Path(sys.argv[2])))
emulator.launch()
emulator.wait_ready()
print(json.dumps({"url": emulator.url, "api_key": emulator.api_key, "pid": emulator.pid}), flush=True)
time.sleep(600)
"""


def options(parent: Path, **fields: Any) -> EmulatorOptions:
    return EmulatorOptions(isolation=ISOLATION, state_parent=parent, **fields)


def processes(marker: str) -> list[int]:
    """Return processes whose command line or environment contains the marker."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def zombies() -> list[int]:
    """Return the children of this process that have ended, and are not collected."""
    return [pid for pid, (parent, state) in leftovers.processes().items() if parent == os.getpid() and state == "Z"]


@pytest.fixture
def marker() -> str:
    """Return a command's argument that identifies it in a process list, different from any other test's."""
    return f"{1000 + os.getpid()}.{time.monotonic_ns()}"


@pytest.fixture(autouse=True)
def no_zombies() -> Iterator[None]:
    yield
    gc.collect()
    eventually(lambda: not zombies())


async def start_sleeper(url: str, key: str, marker: str) -> None:
    """Leave a command running in a VM, and another one in the background of its session."""
    async with aiohttp.ClientSession() as session:
        api = Api(session, url, key)
        vm = (await api.fork())["vm_id"]
        run = await api.background(vm, f"setsid sleep {marker} & echo up; sleep {marker}")
        await api.printed(vm, run, "up")
    eventually(lambda: len(processes(marker)) >= 2)


async def test_both_kinds_of_context_manager(place: Path, marker: str) -> None:
    async with Emulator(options(place)) as emulator:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api", emulator.url)
        await start_sleeper(emulator.url, emulator.api_key, marker)
        assert list(place.iterdir()) != []
        process_id = emulator.pid
    assert processes(marker) == []
    assert list(place.iterdir()) == []
    assert process_id is not None
    assert not Path(f"/proc/{process_id}").exists()
    assert emulator.pid is None, "the number may be another process's by now"
    await emulator.aclose()
    emulator.close()

    with Emulator(options(place)) as emulator:
        socket.create_connection(("127.0.0.1", int(emulator.url[:-4].rpartition(":")[2]))).close()
    assert list(place.iterdir()) == []


async def test_the_address_is_known_at_once_and_requests_wait_for_the_server(place: Path) -> None:
    emulator = Emulator(options(place))
    with pytest.raises(EmulatorError, match="launched"):
        _ = emulator.url
    with pytest.raises(EmulatorError, match="launched"):
        emulator.wait_ready()
    emulator.launch()
    emulator.launch()
    assert emulator.pid is not None
    # Whatever the server does by now, it does not answer; connections to it are made all the same.
    os.kill(emulator.pid, signal.SIGSTOP)
    try:
        host, port = emulator.url.removeprefix("http://").removesuffix("/api").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET /api/v1/vms HTTP/1.0\r\n\r\n")
            os.kill(emulator.pid, signal.SIGCONT)
            emulator.wait_ready()
            assert connection.recv(1000).startswith(b"HTTP/1.0 401 ")
        async with aiohttp.ClientSession() as session:
            assert (await Api(session, emulator.url, emulator.api_key).call("GET", "/v1/vms")).status == 200
        emulator.wait_ready()
        await emulator.await_ready()
        assert emulator.client_options == {
            "api_key": emulator.api_key,
            "base_url": emulator.url,
            "burst_base_url": emulator.url,
            "control_base_url": emulator.url,
        }
    finally:
        await emulator.aclose()
    with pytest.raises(EmulatorError, match="closed"):
        emulator.launch()
    with pytest.raises(EmulatorError, match="closed"):
        await emulator.await_ready()


def test_launching_does_not_wait_for_the_server(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python3"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    emulator = Emulator(options(place))
    emulator.launch()
    assert emulator.url
    emulator.close()
    assert list(place.iterdir()) == []


async def test_closing_before_it_was_ready_or_launched(place: Path) -> None:
    emulator = Emulator(options(place))
    assert emulator.pid is None
    emulator.close()
    emulator = Emulator(options(place))
    emulator.launch()
    assert emulator.pid is not None
    emulator.close()
    assert emulator.pid is None
    assert list(place.iterdir()) == []


async def test_waiting_can_be_cancelled(place: Path) -> None:
    emulator = Emulator(options(place))
    emulator.launch()
    with anyio.move_on_after(0.001):
        await emulator.await_ready()
    await emulator.await_ready()
    await emulator.aclose()


async def test_the_token_is_in_no_repr_command_line_environment_or_log(place: Path) -> None:
    key = "a-secret-key-of-the-test"
    async with Emulator(options(place, api_key=key)) as emulator, aiohttp.ClientSession() as session:
        api = Api(session, emulator.url, key)
        vm = (await api.fork())["vm_id"]
        await api.raw("GET", f"{emulator.url}/v1/vms", headers={"Authorization": "Bearer wrong-key-too"})
        await api.raw("GET", f"{emulator.url}/{key}%", headers={"Authorization": f"Basic {key}"})
        await api.run(vm, "head -c 5000000 /dev/zero > big")
        url = (await api.read(vm, "big"))["presigned_url"]
        assert key not in url
        await api.raw("GET", url)
        for data in (
            f"GET / HTTP/1.1\nHost: x\nAuthorization: Bearer {key}\n\n",
            f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nBad Header\r\n\r\n",
            f"GET / HTTP/1.1\r\nAuthorization : Bearer {key}\r\n\r\n",
            f"GET {key}",
            f"{key} / HTTP/1.1\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(emulator.url.split(":")[2].split("/")[0]))
            writer.write(data.encode())
            writer.write_eof()
            await reader.read()
            writer.close()
        assert key not in repr(emulator) + repr(emulator.options) + str(emulator)
        (directory,) = place.iterdir()
        log = (directory / "server.log").read_bytes()
        assert b"a malformed request was refused" in log
        assert stat.S_IMODE((directory / "server.log").stat().st_mode) == 0o600
        process = Path(f"/proc/{emulator.pid}")
        for text in (log, (process / "cmdline").read_bytes(), (process / "environ").read_bytes()):
            assert key.encode() not in text
        assert url.rpartition("=")[2].encode() not in log


async def test_a_killed_server_takes_its_vms_along_and_close_removes_the_rest(place: Path, marker: str) -> None:
    async with Emulator(options(place)) as emulator:
        await start_sleeper(emulator.url, emulator.api_key, marker)
        emulator.check_alive()
        assert emulator.pid is not None
        os.kill(emulator.pid, signal.SIGKILL)
        eventually(lambda: processes(marker) == [])

        def ended() -> bool:
            try:
                emulator.check_alive()
            except EmulatorError:
                return True
            return False

        eventually(ended)
        with pytest.raises(EmulatorError, match="has died, with status -9"):
            emulator.check_alive()
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_server_ends_when_its_parent_dies(place: Path, marker: str, number: signal.Signals) -> None:
    with start("code", PARENT, ISOLATION, str(place), env=os.environ, backends=True) as parent:
        assert parent.stdout is not None
        said = json.loads(parent.stdout.readline())
        await start_sleeper(said["url"], said["api_key"], marker)
        parent.send_signal(number)
    eventually(lambda: processes(marker) == [])
    eventually(lambda: not Path(f"/proc/{said['pid']}").exists())
    eventually(lambda: list(place.iterdir()) == [])


async def test_a_forked_process_leaves_the_server_alone(place: Path) -> None:
    program = """
import gc, os, sys, urllib.request, warnings
from pathlib import Path
from arker.emulator import Emulator, EmulatorOptions
warnings.simplefilter("error")
with Emulator(EmulatorOptions(isolation=sys.argv[1], state_parent=Path(sys.argv[2]))) as emulator:
    child = os.fork()
    if child == 0:
        emulator.close()
        del emulator
        gc.collect()
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    emulator.check_alive()
    request = urllib.request.Request(emulator.url + "/v1/vms")
    request.add_header("Authorization", "Bearer " + emulator.api_key)
    print(urllib.request.urlopen(request).status)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, ISOLATION, str(place)],
        capture_output=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"200\n"), done.stderr.decode()
    assert list(place.iterdir()) == []


async def test_a_forked_process_that_lives_on_does_not_keep_the_server_alive(place: Path) -> None:
    program = PARENT.replace(
        "time.sleep(600)", "import os\nif os.fork(): sys.exit(0)\nsys.stdout.close()\ntime.sleep(600)\nos._exit(0)"
    )
    with child(
        [sys.executable, "-c", program, ISOLATION, str(place)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        said = json.loads(parent.stdout.readline())
        parent.wait(60)
        eventually(lambda: not Path(f"/proc/{said['pid']}").exists())
        os.killpg(parent.pid, signal.SIGKILL)
    eventually(lambda: list(place.iterdir()) == [])


async def test_a_taken_port_is_an_error_at_launch(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        emulator = Emulator(options(place, port=port))
        with pytest.raises(EmulatorError, match=rf"could not be launched: .*port {port} of 127\.0\.0\.1"):
            emulator.launch()
    assert list(place.iterdir()) == []


async def test_a_reason_to_fail_reaches_the_parent(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Commands need bash: without a PATH there is none.
    monkeypatch.setenv("PATH", str(place / "nowhere"))
    emulator = Emulator(EmulatorOptions(isolation="none", state_parent=place))
    with pytest.raises(EmulatorError, match="bash"):
        async with emulator:
            pass
    with pytest.raises(EmulatorError, match="bash"), Emulator(emulator.options):
        pass
    assert list(place.iterdir()) == []


async def test_it_starts_from_a_directory_with_misleading_modules(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "aiohttp", "arker", "socket"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not this one')\n")
    monkeypatch.setattr(sys, "path", [entry or ROOT for entry in sys.path])
    monkeypatch.chdir(tmp_path)
    async with Emulator(options(place)) as emulator:
        emulator.check_alive()
