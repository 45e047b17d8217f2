"""Rows on a server with 50 MB/s per connection: 1 GiB up and down, beside a single PUT and GET."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable
from typing import Final

from arker import AsyncArker
from benchmarks import store
from benchmarks.files import Hand, Peak, of_file, with_memory
from benchmarks.measure import Rounds, Row, run_bounded
from benchmarks.server import API_KEY, VM_ID

SIZE: Final = 1024 * 1024 * 1024


def measure_up(_: str) -> Row:
    with store.running() as base_url:
        return run_bounded(_up(f"{base_url}/capped"))


def measure_down(_: str) -> Row:
    with store.running() as base_url:
        return run_bounded(_down(f"{base_url}/capped"))


async def _once(
    name: str, title: str, by_hand: Callable[[], Awaitable[object]], ours: Callable[[], Awaitable[object]]
) -> Row:
    """Run one round, which is enough because the server sets the pace."""
    theirs, own = Peak(), Peak()
    pairs = Rounds([await theirs.of(by_hand())], [await own.of(ours())])
    return with_memory(pairs, name, title, theirs, own)


async def _up(base_url: str) -> Row:
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "file")
        with open(path, "wb") as file:
            file.truncate(SIZE)
        async with Hand(base_url) as hand, AsyncArker(API_KEY, base_url=base_url) as client:
            vm = client.vm(VM_ID)
            return await _once(
                "cappedup",
                "a file of 1 GiB at 50 MB/s for each connection",
                lambda: hand.upload(lambda digest: of_file(path, digest), SIZE),
                lambda: vm.upload(path, "/f"),
            )


async def _down(base_url: str) -> Row:
    with tempfile.TemporaryDirectory() as directory:
        async with Hand(base_url) as hand, AsyncArker(API_KEY, base_url=base_url) as client:
            vm = client.vm(VM_ID)

            async def by_hand() -> None:
                with open(os.path.join(directory, "hand"), "wb", buffering=1024 * 1024) as file:
                    await hand.download(SIZE, file.write)
                os.unlink(os.path.join(directory, "hand"))

            title = "1 GiB to a file at 50 MB/s for each connection"
            return await _once(
                "cappeddown", title, by_hand, lambda: vm.download(f"/f/{SIZE}", os.path.join(directory, "ours"))
            )
