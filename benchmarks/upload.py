"""Rows of uploads: 256 MiB from memory and from a file, by one presigned PUT."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import nullcontext

from arker import AsyncArker
from benchmarks import store
from benchmarks.files import SIZE, Hand, compare, of_file, of_memory, plain
from benchmarks.measure import Row, all_cores, run_bounded
from benchmarks.server import API_KEY, VM_ID


def measure_memory(_: str, name: str, tls: bool) -> Row:
    with store.running(tls=tls) as base_url:
        return run_bounded(_memory(base_url, name))


def measure_beside_none(_: str, name: str, checksum: bool) -> Row:
    # The digest is made by a thread beside the one that sends, which needs a core of its own to be of use.
    with store.running() as base_url, all_cores() if checksum else nullcontext():
        return run_bounded(_beside_none(base_url, name, checksum=checksum))


def measure_file(_: str) -> Row:
    with store.running() as base_url:
        return run_bounded(_file(base_url))


async def _memory(base_url: str, name: str) -> Row:
    data = secrets.token_bytes(SIZE)
    async with Hand(base_url) as hand, AsyncArker(API_KEY, base_url=base_url) as client:
        vm = client.vm(VM_ID)
        return await compare(
            name,
            "256 MiB from memory by a PUT, with its digest",
            lambda: hand.upload(lambda digest: of_memory(data, digest), SIZE),
            lambda: vm.upload(data, "/f", strategy="put"),
            rounds=7,
        )


async def _beside_none(base_url: str, name: str, *, checksum: bool) -> Row:
    data = secrets.token_bytes(SIZE)
    async with Hand(base_url) as hand, AsyncArker(API_KEY, base_url=base_url) as client:
        vm = client.vm(VM_ID)
        return await compare(
            name,
            f"256 MiB from memory by a PUT, {'with' if checksum else 'without'} its digest; by hand without",
            lambda: hand.upload(lambda _: plain(data), SIZE),
            lambda: vm.upload(data, "/f", strategy="put", checksum=checksum),
            rounds=7,
        )


async def _file(base_url: str) -> Row:
    descriptor, path = tempfile.mkstemp()
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SIZE))
        async with Hand(base_url) as hand, AsyncArker(API_KEY, base_url=base_url) as client:
            vm = client.vm(VM_ID)
            return await compare(
                "uploadfile",
                "a file of 256 MiB by a PUT, with its digest",
                lambda: hand.upload(lambda digest: of_file(path, digest), SIZE),
                lambda: vm.upload(path, "/f", strategy="put"),
                rounds=7,
            )
    finally:
        os.unlink(path)
