"""Rows ``inline…`` and ``inlineread``: the wall time of writing and of reading 4 MiB, in base64 within a JSON body."""

from __future__ import annotations

import secrets
import time
from contextlib import nullcontext
from typing import Final

import pybase64

from arker import AsyncArker
from benchmarks.limit import Limit
from benchmarks.measure import Row, all_cores, interleave_async, run_bounded
from benchmarks.server import API_KEY, FILE_SIZE, FILE_VM, VM_ID

ROUNDS: Final = 25


def measure(base_url: str, name: str, checksum: bool) -> Row:
    # The digest is made by a thread beside the one that sends, which needs a core of its own to be of use.
    with all_cores() if checksum else nullcontext():
        return run_bounded(_write(base_url, name, checksum=checksum))


def measure_read(base_url: str) -> Row:
    return run_bounded(_read(base_url))


async def _write(base_url: str, name: str, *, checksum: bool) -> Row:
    data = secrets.token_bytes(FILE_SIZE)
    async with Limit(base_url) as limit, AsyncArker(API_KEY, base_url=base_url) as client:
        vm = client.vm(VM_ID)
        url = limit.vm_url(VM_ID, "/sync")
        before = b'{"op":"write","writes":[{"path":"/tmp/file","size":%d,"upload_id":"%026d","content":"' % (
            FILE_SIZE,
            0,
        )
        after = b'","start":0,"end":%d}]}' % FILE_SIZE

        async def by_hand() -> float:
            started = time.perf_counter()
            body = b"".join((before, pybase64.b64encode(data), after))
            answer = await limit.post_slices(url, body)
            taken = time.perf_counter() - started
            assert answer["results"][0]["written"]
            return taken

        async def ours() -> float:
            started = time.perf_counter()
            await vm.sync("/tmp/file", data, checksum=checksum)
            return time.perf_counter() - started

        rounds = await interleave_async(by_hand, ours, rounds=ROUNDS)
    return rounds.row(name, f"a 4 MiB inline write, {'with' if checksum else 'without'} its digest; by hand without")


async def _read(base_url: str) -> Row:
    async with Limit(base_url) as limit, AsyncArker(API_KEY, base_url=base_url) as client:
        vm = client.vm(FILE_VM)
        url = limit.vm_url(FILE_VM, "/sync")

        async def by_hand() -> float:
            started = time.perf_counter()
            data = await limit.read(url, "/tmp/file")
            taken = time.perf_counter() - started
            assert len(data) == FILE_SIZE
            return taken

        async def ours() -> float:
            started = time.perf_counter()
            data = await vm.sync("/tmp/file")
            taken = time.perf_counter() - started
            assert len(data) == FILE_SIZE
            return taken

        rounds = await interleave_async(by_hand, ours, rounds=ROUNDS)
    return rounds.row("inlineread", "a 4 MiB inline read")
