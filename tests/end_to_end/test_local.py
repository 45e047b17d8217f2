"""`AsyncArker.local()`: its own backend, from a program's start to its end; the examples and the README's code."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from arker import AsyncArker, ConfigurationError, EmulatorError, InvalidArgumentError
from arker.emulator import Emulator
from tests.support import forked, leftovers
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]


def inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("ARKER_", "AUTH_KEY"))}


def run_example(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run an example, in which every warning is an error. It and its backend are forked."""
    return forked.run("file", f"examples/{name}", *arguments, env={**inherited(), **environment}, timeout=300)


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a separate program in which every warning is an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=ROOT,
        env=inherited(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_quickstart_runs_to_its_end() -> None:
    done = run_python("examples/quickstart.py")
    assert (done.returncode, done.stderr) == (0, "")
    for expected in ("42", "HELLO", "parent 'HELLO', child 'changed'", "33,554,432", "0 1 4 9 16 25 36 49"):
        assert expected in done.stdout
    assert "nothing left" in done.stdout


def test_the_blocking_quickstart_runs_to_its_end() -> None:
    done = run_example("quickstart_sync.py")
    assert (done.returncode, done.stderr) == (0, "")
    for expected in ("Linux 42", "HELLO", "parent 'HELLO', child 'changed'", "0 1 4 9 16 25 36 49", "nothing left"):
        assert expected in done.stdout


def test_the_quickstart_uses_the_cloud_when_there_is_a_key(emulator: Emulator) -> None:
    done = run_example(
        "quickstart.py",
        ARKER_API_KEY=emulator.api_key,
        ARKER_BASE_URL=emulator.url,
        ARKER_BURST_BASE_URL=emulator.url,
        ARKER_CONTROL_BASE_URL=emulator.url,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Arker at {emulator.url}" in done.stdout
    assert "nothing left" in done.stdout


def test_a_second_event_loop_with_the_same_client(emulator: Emulator) -> None:
    client = AsyncArker(**emulator.client_options)

    async def use() -> bytes:
        async with await client.fork("ubuntu") as vm:
            return (await vm.run("echo hi")).stdout

    assert [asyncio.run(use()) for _ in range(3)] == [b"hi\n"] * 3
    asyncio.run(client.aclose())


def test_two_loops_in_two_threads_at_once(emulator: Emulator) -> None:
    client = AsyncArker(**emulator.client_options)
    outputs: list[bytes] = []

    async def use(number: int) -> None:
        async with await client.fork("ubuntu") as vm:
            for _ in range(5):
                outputs.append((await vm.run(f"echo {number}")).stdout)

    threads = [threading.Thread(target=asyncio.run, args=(use(number),)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outputs) == [b"0\n"] * 5 + [b"1\n"] * 5
    asyncio.run(client.aclose())


def test_a_local_client_in_a_module_survives_a_second_loop() -> None:
    program = """
import asyncio
from arker import AsyncArker

ar = AsyncArker.local()

async def main():
    async with await ar.fork("ubuntu") as vm:
        print((await vm.run("echo hi")).stdout_text, end="")

asyncio.run(main())
asyncio.run(main())
asyncio.run(ar.aclose())
"""
    done = forked.run("code", program, env=inherited())
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi\nhi\n", "")


def test_a_local_client_that_is_never_closed_leaves_nothing() -> None:
    program = """
import asyncio
from arker import AsyncArker

ar = AsyncArker.local()

async def main():
    vm = await ar.fork("ubuntu")
    await vm.run("sleep 1000", background=True)
    print(ar._emulator.pid, flush=True)

asyncio.run(main())
"""
    done = run_python("-c", program)
    assert done.returncode == 0
    pid = int(done.stdout)
    give_up = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < give_up
        time.sleep(0.05)


@pytest.mark.anyio
async def test_a_backend_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        AsyncArker.local(isolation="perhaps")
    assert refused.value.argument == "isolation"
    with pytest.raises(InvalidArgumentError):
        AsyncArker.local(no_such_option=1)
    async with AsyncArker.local() as taken:
        port = int(str(taken.base_url).rsplit(":", 1)[1].split("/")[0])
        with pytest.raises(EmulatorError):
            AsyncArker.local(port=port)


@pytest.mark.anyio
async def test_a_closed_client_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    forked.fork_backends(monkeypatch)
    async with AsyncArker.local() as ar:
        assert ar.base_url == ar.burst_base_url == ar.control_base_url
        vm = await ar.fork("ubuntu")
    with pytest.raises(ConfigurationError):
        await vm.run("true")


@pytest.mark.anyio
async def test_a_backend_that_has_died_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    forked.fork_backends(monkeypatch)
    async with AsyncArker.local(isolation="none") as ar:
        await ar.list_vms()
        pid = ar._emulator.pid if ar._emulator is not None else None  # pyright: ignore[reportPrivateUsage]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while leftovers.alive({pid}):
            await asyncio.sleep(0.01)
        with pytest.raises(EmulatorError, match="has died"):
            await ar.list_vms()
