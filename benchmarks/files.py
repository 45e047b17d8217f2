"""Shared parts of the rows on files: the same work by hand, and the memory that each way takes."""

from __future__ import annotations

import asyncio
import binascii
import gc
import hashlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import orjson
from yarl import URL

from benchmarks.limit import Limit
from benchmarks.measure import Rounds, Row, interleave_async
from benchmarks.server import VM_ID

MIB: Final = 1024 * 1024
SIZE: Final = 256 * MIB


class Hand(Limit):
    """Transfers by hand: one PUT or GET each, in slices, with a running digest and nothing else."""

    async def upload(self, pieces: Callable[[Any], AsyncIterator[Any]], size: int) -> None:
        """Upload by a presigned PUT and its commit; ``pieces`` updates the given digest."""
        url = self.vm_url(VM_ID, "/sync")
        answer = await self.post(url, {"op": "write", "writes": [{"path": "/f", "size": size, "presigned": True}]})
        digest = hashlib.sha256()
        async with self._session.put(
            URL(answer["results"][0]["presigned_url"], encoded=True),
            data=pieces(digest),
            headers={"Content-Length": str(size)},
        ) as response:
            assert response.status == 200
            await response.read()
        commit = {"path": "/f", "size": size, "upload_id": "u", "sha256": digest.hexdigest()}
        await self.post(url, {"op": "write", "writes": [commit]})

    async def download(self, size: int, take: Callable[[bytes], object]) -> None:
        """Download by a presigned GET, and hand the bytes on as they come."""
        answer = await self.post(self.vm_url(VM_ID, "/sync"), {"op": "read", "path": f"/f/{size}"})
        async with self._session.get(URL(answer["presigned_url"], encoded=True), read_bufsize=256 * 1024) as response:
            async for piece in response.content.iter_any():
                take(piece)

    async def many(self, files: list[tuple[bytes, str]]) -> None:
        """Upload all of them in one request, whatever the server's limits."""
        entries = [
            {
                "path": path,
                "size": len(data),
                "upload_id": f"{number:026}",
                "content": binascii.b2a_base64(data, newline=False).decode(),
                "start": 0,
                "end": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
            for number, (data, path) in enumerate(files)
        ]
        answer = await self.post_slices(self.vm_url(VM_ID, "/sync"), orjson.dumps({"op": "write", "writes": entries}))
        assert all(result["written"] for result in answer["results"])


async def of_memory(data: bytes, digest: Any) -> AsyncIterator[memoryview]:
    view = memoryview(data)
    # Beside the transfer, as far as there is a core for it.
    hashing = asyncio.get_running_loop().run_in_executor(None, digest.update, view)
    for start in range(0, len(view), MIB):
        yield view[start : start + MIB]
    await hashing


async def plain(data: bytes) -> AsyncIterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(view), MIB):
        yield view[start : start + MIB]


async def of_file(path: str, digest: Any) -> AsyncIterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(MIB):
            digest.update(piece)
            yield piece


class Peak:
    """The peak memory of some work above the level before it, in MiB; 0 where it cannot be measured."""

    def __init__(self) -> None:
        self.highest = 0.0

    async def of(self, work: Awaitable[object]) -> float:
        """Return the seconds that the work takes."""
        gc.collect()
        before = self._reset()
        started = time.perf_counter()
        await work
        taken = time.perf_counter() - started
        if before is not None:
            self.highest = max(self.highest, (_status("VmHWM") - before) / 1024)
        return taken

    def _reset(self) -> int | None:
        if sys.platform != "linux":
            return None
        try:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        except OSError:
            return None
        return _status("VmRSS")


def _status(name: str) -> int:
    with open(f"/proc/{os.getpid()}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))


async def compare(
    name: str,
    title: str,
    by_hand: Callable[[], Awaitable[object]],
    ours: Callable[[], Awaitable[object]],
    *,
    rounds: int,
) -> Row:
    """Return the row of two ways to do the same work. Its title shows the memory that each took."""
    theirs, own = Peak(), Peak()
    pairs = await interleave_async(lambda: theirs.of(by_hand()), lambda: own.of(ours()), rounds=rounds)
    return with_memory(pairs, name, title, theirs, own)


def with_memory(pairs: Rounds, name: str, title: str, theirs: Peak, own: Peak) -> Row:
    memory = f"{own.highest:.0f} MiB of extra memory, by hand {theirs.highest:.0f}"
    return pairs.row(name, f"{title}; {memory}")
