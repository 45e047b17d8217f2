"""Row ``many``: 2,000 files of 1 KiB, beside one request of as many entries."""

from __future__ import annotations

import secrets

from arker import AsyncArker
from benchmarks import store
from benchmarks.files import Hand, compare
from benchmarks.measure import Row, run_bounded
from benchmarks.server import API_KEY, VM_ID


def measure(_: str) -> Row:
    with store.running() as base_url:
        return run_bounded(_measure(base_url))


async def _measure(base_url: str) -> Row:
    files = [(secrets.token_bytes(1024), f"/f/{number}") for number in range(2000)]
    async with Hand(base_url) as hand, AsyncArker(API_KEY, base_url=base_url) as client:
        vm = client.vm(VM_ID)

        async def ours() -> None:
            assert all(outcome.ok for outcome in await vm.upload_many(files))

        title = "2,000 files of 1 KiB, each with its digest and its outcome"
        return await compare("many", title, lambda: hand.many(files), ours, rounds=15)
