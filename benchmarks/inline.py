"""Row ``inline``: the wall time of writing a file of 4 MiB, in base64 within one JSON body."""

from __future__ import annotations

import binascii
import secrets
import time
from typing import Final

from arker import AsyncArker
from benchmarks.limit import Limit
from benchmarks.measure import Row, interleave_async, run_bounded
from benchmarks.server import API_KEY, VM_ID

NAME: Final = "inline"
TARGET: Final = 2.0
SIZE: Final = 4 * 1024 * 1024
ROUNDS: Final = 25


def measure(base_url: str) -> Row:
    return run_bounded(_measure(base_url))


async def _measure(base_url: str) -> Row:
    data = secrets.token_bytes(SIZE)
    async with Limit(base_url) as limit, AsyncArker(API_KEY, base_url=base_url) as client:
        vm = client.vm(VM_ID)
        url = limit.vm_url(VM_ID, "/sync")
        before = b'{"op":"write","writes":[{"path":"/tmp/file","size":%d,"upload_id":"%026d","content":"' % (SIZE, 0)
        after = b'","start":0,"end":%d}]}' % SIZE

        async def by_hand() -> float:
            started = time.perf_counter()
            body = b"".join((before, binascii.b2a_base64(data, newline=False), after))
            answer = await limit.post_slices(url, body)
            taken = time.perf_counter() - started
            assert answer["results"][0]["written"]
            return taken

        async def ours() -> float:
            started = time.perf_counter()
            await vm.sync("/tmp/file", data)
            return time.perf_counter() - started

        rounds = await interleave_async(by_hand, ours, rounds=ROUNDS)
    return rounds.row(NAME, "a 4 MiB inline write", at_most=TARGET)
