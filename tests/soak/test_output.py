"""Much output and long lists: each byte once, for not much more than its size, and in constant memory."""

from __future__ import annotations

import gc
import hashlib
import logging
import tracemalloc

import pytest

from arker import AsyncArker, Hooks, NetworkError, RequestEvent
from tests.soak.conftest import Soak
from tests.support.clients import QUICK, make_client
from tests.support.forked import ForkedEmulator
from tests.support.growing import GrowingRun
from tests.support.lists import VmList
from tests.support.server import ScriptedServer

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
SIZE = 64 * MIB

WRITER = """\
import sys, time
for block in range({blocks}):
    lines = [b"%010d %s\\n" % (block * 1024 + line, b"x" * 52) for line in range(1024)]
    sys.stdout.buffer.write(b"".join(lines))
    sys.stdout.flush()
    time.sleep({pause})
"""


def numbered(lines: int) -> bytes:
    return b"".join([b"%010d %s\n" % (line, b"x" * 52) for line in range(lines)])


async def test_output_under_lost_connections(soak: Soak) -> None:
    blocks = soak.times(SIZE // (64 * 1024))
    size, expected = blocks * 64 * 1024, hashlib.sha256(numbered(blocks * 1024)).digest()
    read = lost = 0

    def note(event: RequestEvent) -> None:
        nonlocal read, lost
        if event.operation in ("vm.get_run", "vm.list_runs"):
            read += event.bytes_received if event.error is None else 0
            lost += event.error is not None

    async with ForkedEmulator() as emulator:
        client = AsyncArker(**emulator.client_options, retry=QUICK, hooks=Hooks(on_request=note))
        async with client as ar, await ar.fork("ubuntu") as vm:
            faults = emulator.faults
            seed = soak.rng.randrange(1000)
            run = await vm.start(["python3", "-c", WRITER.format(blocks=blocks, pause=8 * soak.scale / blocks)])
            received, digest = 0, hashlib.sha256()
            chunks, whole = run.output(), False
            with (
                faults.truncate(operation="get_run", skip=1),  # one is lost for sure, however few there are
                faults.truncate(operation="get_run", share=0.25, seed=seed),
                faults.close(operation=["get_run", "list_runs"], moment="after", reset=True, share=0.15, seed=seed),
                faults.close(operation=["get_run", "list_runs"], moment="before", share=0.1, seed=seed),
            ):
                while not whole:
                    try:
                        async for chunk in chunks:
                            assert chunk.stream == "stdout"
                            received += len(chunk.data)
                            digest.update(chunk.data)
                        whole = True
                    except NetworkError:
                        pass  # it goes on where it was
    print(f"{size / MIB:.1f} MiB; read {read / size:.2f} times its size; {lost} replies were lost")
    assert (received, digest.digest()) == (size, expected)
    assert lost > 0
    # Where the machine holds up the command just when a reading relies on its pace, that reading is made for little.
    assert read <= 4 * size + MIB


async def test_steady_output_costs_at_most_three_times_its_size(soak: Soak, server: ScriptedServer) -> None:
    lines = soak.times(SIZE // 64)
    data, seconds = numbered(lines), soak.seconds(10.0)
    course = GrowingRun(lambda elapsed: data[: int(len(data) * elapsed / seconds)], seconds, cut=3)
    server.answer(course)
    received = bytearray()
    async with make_client(server) as client:
        run = await client.vm("vm-1").start("seq")
        async for chunk in run.output():
            received += chunk.data
    print(
        f"{len(data) / MIB:.1f} MiB; read {course.read / len(data):.2f} times its size; {course.cuts} replies were lost"
    )
    assert received == data
    assert course.cuts > 0
    assert course.read <= 3 * len(data) + MIB


async def test_a_long_list_in_constant_memory(
    soak: Soak, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "arker")  # what is captured would be kept
    number, size = soak.times(10_000), 100
    server.answer(VmList(number))
    seen = 0
    held: list[int] = []
    async with make_client(server) as client:
        tracemalloc.start()
        try:
            async for vm in client.iter_vms(page_size=size):
                assert vm.id == f"vm-{seen}"
                seen += 1
                if seen % size == 0:
                    server.requests.clear()
                    gc.collect()
                    held.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
    assert seen == number
    print(f"{number} VMs; {held[0] / 1024:.0f} KiB after the first page, {max(held) / 1024:.0f} KiB at most")
    # All of them would be a hundred times as much as a page; a page more may be held while the next one is read.
    assert max(held) < 4 * held[0]
