"""Rows of downloads: 256 MiB into memory and to a file."""

from __future__ import annotations

import io
import os
import tempfile

from arker import AsyncArker
from benchmarks import store
from benchmarks.files import SIZE, Hand, compare
from benchmarks.measure import Row, run_bounded
from benchmarks.server import API_KEY, VM_ID


def measure_memory(_: str, name: str, tls: bool) -> Row:
    with store.running(tls=tls) as base_url:
        return run_bounded(_memory(base_url, name))


def measure_file(_: str) -> Row:
    with store.running() as base_url:
        return run_bounded(_file(base_url))


async def _memory(base_url: str, name: str) -> Row:
    async with Hand(base_url) as hand, AsyncArker(API_KEY, base_url=base_url) as client:
        vm = client.vm(VM_ID)

        async def by_hand() -> None:
            whole = io.BytesIO()
            await hand.download(SIZE, whole.write)
            assert len(whole.getvalue()) == SIZE

        async def ours() -> None:
            assert len(await vm.sync(f"/f/{SIZE}")) == SIZE

        return await compare(name, "256 MiB into memory", by_hand, ours, rounds=7)


async def _file(base_url: str) -> Row:
    with tempfile.TemporaryDirectory() as directory:
        async with Hand(base_url) as hand, AsyncArker(API_KEY, base_url=base_url) as client:
            vm = client.vm(VM_ID)

            async def by_hand() -> None:
                with open(os.path.join(directory, "hand"), "wb", buffering=1024 * 1024) as file:
                    await hand.download(SIZE, file.write)

            async def ours() -> None:
                await vm.download(f"/f/{SIZE}", os.path.join(directory, "ours"))

            return await compare("downloadfile", "256 MiB to a file", by_hand, ours, rounds=7)
