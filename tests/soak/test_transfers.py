"""Transfers under faults, cancelled at any moment, and of a size that no memory holds."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import random
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from attrs import define

from arker import ArkerError, AsyncArker, AsyncVM, NotFoundError, RetryPolicy
from arker.emulator import Emulator, EmulatorOptions
from arker.emulator.control.rules import OperationName
from arker.transfer import FileOutcome
from tests.emulator.server.conftest import place as place  # the fixture
from tests.emulator.server.support import ISOLATION
from tests.soak.conftest import Soak
from tests.support.forked import ForkedEmulator
from tests.transfers.test_sources import pieces

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent.parent
MIB = 1024 * 1024
SHARE = 0.05
ASKED: tuple[OperationName, ...] = ("sync", "run", "create_session", "delete_session", "presigned_put", "presigned_get")
QUICK = RetryPolicy(base_delay=0.005, max_delay=0.02, jitter=0.0)


@pytest.fixture
async def emulator(place: Path) -> AsyncIterator[Emulator]:
    async with ForkedEmulator(EmulatorOptions(isolation=ISOLATION, state_parent=place)) as emulator:
        yield emulator


@define
class Scene:
    """What a transfer of a round has to do with.

    Attributes:
        steady: A handle for what no fault reaches.
        vm: The handle that is tried.
        rng: Random numbers.
        directory: Local files; there is nothing else in it.
    """

    steady: AsyncVM
    vm: AsyncVM
    rng: random.Random
    directory: Path

    def data(self, largest: int = 6 * MIB) -> bytes:
        return self.rng.randbytes(self.rng.choice([0, 1, 1000, MIB, 4 * MIB, 4 * MIB + 1, largest]) % (largest + 1))

    async def content(self, path: str) -> bytes | None:
        try:
            return await self.steady.sync(path)
        except NotFoundError:
            return None


Way = Callable[[Scene], Awaitable[None]]
"""Moves something and raises `AssertionError` unless it is right; `ArkerError` may come out."""


def upload(**options: Any) -> Way:
    async def way(scene: Scene) -> None:
        old, new = scene.rng.randbytes(100), scene.data(4 * MIB if options.get("strategy") == "inline" else 6 * MIB)
        await scene.steady.sync("file", old)
        local = scene.directory / "source"
        local.write_bytes(new)
        kinds: list[Any] = [local, new, io.BytesIO(new), pieces(new)]
        try:
            await scene.vm.upload(scene.rng.choice(kinds), "file", part_size=MIB, **options)
        except BaseException:
            assert await scene.content("file") in (old, new)
            raise
        assert await scene.content("file") == new

    return way


async def upload_many(scene: Scene) -> None:
    files = {f"many/{number}": scene.data(6 * MIB if number < 3 else 2000) for number in range(40)}
    outcomes = await scene.vm.upload_many([(data, path) for path, data in files.items()], part_size=MIB)
    await check_outcomes(outcomes, list(files))
    for each in outcomes:
        found = await scene.content(each.path)
        assert found == files[each.path] or (not each.ok and found is None)


async def check_outcomes(outcomes: list[FileOutcome], paths: list[str]) -> None:
    assert [each.path for each in outcomes] == paths
    for each in outcomes:
        assert each.error is None or isinstance(each.error, ArkerError)


def download(target: str, **options: Any) -> Way:
    async def way(scene: Scene) -> None:
        data = scene.data()
        await scene.steady.sync("file", data)
        local, memory = scene.directory / "target", io.BytesIO()
        local.write_bytes(b"old")
        if target == "stream":
            async with scene.vm.open_read("file") as stream:
                async for chunk in stream:
                    memory.write(chunk)
            assert memory.getvalue() == data
            return
        try:
            await scene.vm.download("file", local if target == "file" else memory, **options)
        except BaseException:
            assert local.read_bytes() in (b"old", data)
            raise
        assert (local.read_bytes() if target == "file" else memory.getvalue()) == data

    return way


async def download_many(scene: Scene) -> None:
    files = {f"many/{number}": scene.data(6 * MIB if number < 3 else 2000) for number in range(20)}
    assert all(each.ok for each in await scene.steady.upload_many([(data, path) for path, data in files.items()]))
    pairs = [(path, scene.directory / f"m{number}") for number, path in enumerate(files)]
    outcomes = await scene.vm.download_many(pairs, part_size=MIB)
    await check_outcomes(outcomes, list(files))
    for each in outcomes:
        assert each.local is not None
        if each.ok:
            assert Path(each.local).read_bytes() == files[each.path]
        else:
            assert not Path(each.local).exists()


WAYS: dict[str, Way] = {
    "inline": upload(strategy="inline"),
    "put": upload(strategy="put"),
    "parts": upload(strategy="parts"),
    "parts, checked": upload(strategy="parts", verify="full", mode=0o600),
    "chunks": upload(strategy="chunks"),
    "with a mode": upload(mode=0o640),
    "many in": upload_many,
    "to a file": download("file"),
    "ranges": download("file", part_size=MIB),
    "to an object": download("object"),
    "stream": download("stream"),
    "many out": download_many,
}


def sockets() -> int:
    links: list[str] = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the descriptor of the listing itself
            links.append(os.readlink(f"/proc/self/fd/{name}"))
    return sum(link.startswith("socket:") for link in links)


@contextlib.asynccontextmanager
async def round_of(emulator: Emulator, vm_id: str, rng: random.Random, directory: Path) -> AsyncGenerator[Scene, None]:
    """Two clients of one round; nothing of what was done with them is left afterwards."""
    tasks, before = asyncio.all_tasks(), sockets()
    async with AsyncArker(**emulator.client_options) as ar:
        steady = ar.vm(vm_id)
        async with AsyncArker(**emulator.client_options, retry=QUICK) as client:
            yield Scene(steady, client.vm(vm_id), rng, directory)
            assert asyncio.all_tasks() == tasks
        left = await steady.run("find /home /tmp -name '.arker-*'; rm -rf many file")
        assert left.stdout_text == ""
        assert len(list(await steady.list_sessions())) == 1
    assert not [entry.name for entry in directory.iterdir() if entry.name.startswith(".")]
    for entry in directory.iterdir():
        entry.unlink()
    with anyio.fail_after(10):
        while sockets() > before:  # their ends need some steps of the loop
            await asyncio.sleep(0.01)


@pytest.fixture
async def vm_id(emulator: Emulator) -> str:
    async with AsyncArker(**emulator.client_options) as ar:
        return (await ar.fork("ubuntu")).id


async def test_transfers_under_faults(emulator: Emulator, vm_id: str, soak: Soak, tmp_path: Path) -> None:
    names, fired, failed = list(WAYS), 0, 0
    objects: tuple[Literal["presigned_put", "presigned_get"], ...] = ("presigned_put", "presigned_get")
    for number in range(soak.times(200, at_least=8)):
        name, seed = names[number % len(names)], soak.rng.randrange(2**32)
        async with round_of(emulator, vm_id, random.Random(seed), tmp_path) as scene:
            faults = emulator.faults
            with (
                faults.close(operation=ASKED, share=SHARE, seed=seed, reset=True, moment="after") as reset,
                faults.truncate(operation=("sync", *objects), share=SHARE, seed=seed + 1) as cut,
                faults.error(operation=ASKED, share=SHARE, seed=seed + 2) as busy,
                faults.expire(operation=objects, share=SHARE, seed=seed + 3) as expired,
            ):
                try:
                    await WAYS[name](scene)
                except ArkerError as error:
                    print(f"seed {seed}, {name}: {error}")
                    failed += 1
        fired += sum(fault.fired for fault in (reset, cut, busy, expired))
    print(f"{fired} faults fired, {failed} transfers failed")
    assert fired > soak.times(200, at_least=8)
    assert failed <= soak.times(200, at_least=8) / 4


async def test_transfers_that_are_cancelled(emulator: Emulator, vm_id: str, soak: Soak, tmp_path: Path) -> None:
    names, lasted, cancelled = list(WAYS), dict[str, float](), 0
    for number in range(soak.times(100, at_least=6)):
        name = names[(number * 5) % len(names)]
        if name not in lasted:
            async with round_of(emulator, vm_id, random.Random(1), tmp_path) as scene:
                started = time.monotonic()
                await WAYS[name](scene)
                lasted[name] = time.monotonic() - started
        async with round_of(emulator, vm_id, random.Random(1), tmp_path) as scene:
            work = asyncio.ensure_future(WAYS[name](scene))
            await asyncio.sleep(soak.rng.uniform(0, lasted[name]))
            work.cancel()
            try:
                await work
            except asyncio.CancelledError:
                cancelled += 1
    print(f"{cancelled} were cancelled in time")
    assert cancelled > 0


HUGE = """
import asyncio, json, os, sys
from arker import AsyncArker

async def main(options, size, source, target):
    async with AsyncArker(**options) as ar, await ar.fork("ubuntu") as vm:
        def peak():
            # Not what getrusage() tells, which is that of the parent until this process has had more.
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))
        small = os.urandom(20_000_000)
        await vm.upload(small, "warm", strategy="parts")
        await vm.download("warm", target, part_size=4_000_000)
        del small
        before = peak()
        up = await vm.upload(source, "huge", strategy="parts")
        after_up = peak()
        down = await vm.download("huge", target, part_size=64 << 20)
        found = await vm.run("head -c 20 huge; tail -c 20 huge; stat -c %s huge", check=True)
        print(json.dumps([before, after_up, peak(), up.seconds, down.seconds, found.stdout_text]))

asyncio.run(main(json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]))
"""


async def test_a_sparse_file_of_6_gib(emulator: Emulator, soak: Soak, tmp_path: Path) -> None:
    """Up and down, with a bound on the memory that it takes. The suite's is smaller by the square of the scale."""
    size = int(6 * 1024 * MIB * min(1.0, soak.scale) ** 2)
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.write(b"the beginning of it\n")
        file.truncate(size - 20)
        file.seek(0, os.SEEK_END)
        file.write(b"and so here it ends\n")
    options = json.dumps(dict(emulator.client_options))
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HUGE, options, str(size), str(source), str(target)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await child.communicate()
    assert child.returncode == 0
    before, after_up, after, up, down, found = json.loads(out)
    print(f"{size / 2**30:.2f} GiB: up {up:.1f} s, down {down:.1f} s; peak {before} MiB, {after_up} MiB, {after} MiB")
    assert found == f"the beginning of it\nand so here it ends\n{size}\n"
    assert target.stat().st_size == size
    with source.open("rb") as one, target.open("rb") as other:
        while piece := one.read(8 * MIB):
            assert other.read(8 * MIB) == piece
    target.unlink()
    source.unlink()
    assert after - before < 64
