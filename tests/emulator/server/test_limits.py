"""A VM that meets a limit: the reason says which one, with its number."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from arker.emulator import EmulatorOptions
from arker.emulator.sandbox.base import FileWriter, SandboxError
from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from arker.emulator.sandbox.host.machine import Limits
from arker.emulator.sandbox.plain import PlainProvider
from arker.emulator.server.proxy.tunnel_proxy import TunnelProxy
from tests.emulator.server.support import ISOLATION, Api
from tests.support.forked import ForkedEmulator
from tests.support.waiting import longer_and_longer

pytestmark = pytest.mark.anyio

PROCESSES = 40
MANY = f"for i in {{1..{3 * PROCESSES}}}; do sleep 600 & done 2>full; wait"
"""Bash says that a process cannot be started, and tries again later."""


@pytest.fixture(scope="module")
async def limited() -> AsyncIterator[Api]:
    options = EmulatorOptions(isolation=ISOLATION, process_limit=PROCESSES, open_files_limit=256, output_limit=1000)
    async with ForkedEmulator(options) as emulator, aiohttp.ClientSession() as session:
        yield Api(session, emulator.url, emulator.api_key)


@pytest.fixture
async def vm(limited: Api) -> str:
    return str((await limited.fork())["vm_id"])


async def full(api: Api, vm: str) -> str:
    """Fill a VM with processes; the run goes on."""
    run = await api.background(vm, f"(until [ -s full ]; do :; done; echo full; exec sleep 600) & {MANY}")
    await api.printed(vm, run, "full")
    return run


async def test_a_command_that_cannot_be_started_says_why(limited: Api, vm: str) -> None:
    session = (await limited.call("POST", f"/v1/vms/{vm}/sessions", {})).json["session_id"]
    first = await full(limited, vm)
    run = await limited.run(vm, "true", session_id=session)
    assert run["state"] == "failed"
    assert run["fail_reason"] == (
        f"the command could not be started: the VM has reached its limit of {PROCESSES} processes"
    )
    await limited.call("DELETE", f"/v1/vms/{vm}/runs/{first}")
    assert (await limited.run(vm, "echo again"))["stdout"] == "again\n"


async def test_a_timeout_at_the_limit_names_both(limited: Api, vm: str) -> None:
    longer = longer_and_longer(1.5)
    while True:
        seconds = next(longer)
        run = await limited.run(vm, MANY, timeout=seconds)
        assert run["state"] == "failed"
        assert run["fail_reason"].startswith(f"timeout: the command was killed after {seconds:g} s")
        if (await limited.run(vm, "test -s full"))["exit_code"] == 0:
            break
    assert run["fail_reason"].startswith(f"timeout: the command was killed after {seconds:g} s; ")
    assert run["fail_reason"].endswith(f" processes were killed: the VM had reached its limit of {PROCESSES}")
    few = await limited.run(vm, "sleep 60 & sleep 60", timeout=0.3)
    assert few["fail_reason"] == "timeout: the command was killed after 0.3 s"


async def test_a_cancelled_run_at_the_limit_says_so(limited: Api, vm: str) -> None:
    run_id = await full(limited, vm)
    assert (await limited.call("DELETE", f"/v1/vms/{vm}/runs/{run_id}")).json == {"cancelled": True}
    run = await limited.get_run(vm, run_id)
    assert run["state"] == "cancelled"
    assert run["fail_reason"].endswith(f"the VM had reached its limit of {PROCESSES}")


async def test_open_files_and_output(limited: Api, vm: str) -> None:
    assert (await limited.run(vm, "ulimit -n; ulimit -Hn"))["stdout"] == "256\n256\n"
    run = await limited.run(vm, "seq 10000")
    assert run["state"] == "completed"
    assert run["fail_reason"] == "47894 bytes of output beyond the limit of 1000 were dropped"


@pytest.mark.parametrize("isolated", [True, False])
async def test_a_file_operation_at_the_limit_of_open_files(isolated: bool, place: Path) -> None:
    limits = Limits(open_files=256)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        opened = BubblewrapProvider.open(place, limits) if isolated else PlainProvider.open(place, limits)
        provider = await opened
    writers: list[FileWriter] = []
    try:
        vm = await provider.create("one")

        async def open_many() -> None:
            for number in range(256):
                writers.append(await vm.open_write(f"file-{number}", 1))

        with pytest.raises(SandboxError, match="limit of 256 open files") as caught:
            await open_many()
        assert caught.value.code == "resource_pressure"
        assert len(writers) > 50
        for writer in writers:
            await writer.abort()
        await (await vm.open_write("file", 0)).commit()
    finally:
        await provider.close()


async def test_a_tunnel_that_is_closed_while_it_opens_leaves_its_descriptor_alone() -> None:
    async def nowhere() -> None:
        raise AssertionError

    loop = asyncio.get_running_loop()
    for turns in range(4):
        proxy = TunnelProxy(nowhere, token=None)  # type: ignore[arg-type] # it gets no connection
        start = loop.create_task(proxy.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        proxy.close()
        # The number of its descriptor is free now, and is the next one's.
        reader, writer = await asyncio.open_connection(*(await _greeter()))
        assert await asyncio.wait_for(reader.read(), 60) == b"hello"
        writer.close()
        await start


async def _greeter() -> tuple[str, int]:
    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()
        server.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    return str(host), int(port)


async def test_output_that_comes_too_late_is_told(place: Path) -> None:
    options = EmulatorOptions(isolation=ISOLATION, state_parent=place, late_output=0.3)
    async with ForkedEmulator(options) as emulator, aiohttp.ClientSession() as session:
        api = Api(session, emulator.url, emulator.api_key)
        vm = str((await api.fork())["vm_id"])
        wait = "until [ -e done ]; do sleep 0.02; done"  # until the first of its output has been written
        run = await api.run(vm, f"echo hello > >(cat; : > done; sleep 600; echo late); {wait}")
        assert (run["state"], run["exit_code"], run["stdout"]) == ("completed", 0, "hello\n")
        assert "more than 0.3 s after the command's end (late_output)" in run["fail_reason"]
        run = await api.run(vm, "sleep 600 & echo hello")
        assert (run["state"], run["stdout"], run.get("fail_reason")) == ("completed", "hello\n", None)
