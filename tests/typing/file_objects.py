"""File objects as sources and targets, as type checkers see them: checked by `test_types.py`, never run."""

# ruff: noqa: ASYNC210, ASYNC230, SIM115 - nothing is opened here, only types matter

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import mmap
import socket
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
from typing_extensions import assert_type

from arker import AsyncSession, AsyncVM, TransferResult
from arker.transfer import DownloadTarget, OutputTarget, ReadableFile, UploadSource, WritableFile, WritableText
from arker_sync import VM, Fleet


class Own:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def read(self, size: int = -1) -> bytes:
        return self.data[:size]


class OwnAsync:
    async def write(self, data: bytes) -> int:
        return len(data)

    async def read(self, size: int = -1) -> bytes:
        return bytes(max(size, 0))


class Tee:
    def write(self, text: str) -> int:
        return sys.stdout.write(text)


async def targets(vm: AsyncVM, connection: socket.socket) -> None:
    with gzip.open("f.gz", "wb") as zipped, bz2.open("f.bz2", "wb") as smaller, lzma.open("f.xz", "wb") as smallest:
        assert_type(await vm.download("f", zipped), TransferResult)
        await vm.download("f", smaller)
        await vm.download("f", smallest)
        await vm.download("f", gzip.GzipFile("f.gz", "wb"))
        await vm.download("f", lzma.LZMAFile("f.xz", "wb"))
        await vm.download("f", bz2.BZ2File("f.bz2", "wb"))
    with (
        tempfile.SpooledTemporaryFile() as spooled,
        tempfile.NamedTemporaryFile() as named,
        tempfile.TemporaryFile() as unnamed,
        Path("f").open("wb") as opened,
        open("f", "wb", buffering=0) as raw,
        zipfile.ZipFile("f.zip", "w") as archive,
        archive.open("inner", "w") as member,
    ):
        for target in (spooled, named, unnamed, opened, raw, member):
            await vm.download("f", target)
        await vm.download("f", spooled)
        await vm.download("f", named)
        await vm.download("f", opened)
        await vm.download("f", raw)
        await vm.download("f", member)
        await vm.download("f", io.BufferedWriter(raw))
    await vm.download("f", connection.makefile("wb"))
    await vm.download("f", sys.stdout.buffer)
    await vm.download("f", Own())
    await vm.download("f", OwnAsync())
    async with await anyio.open_file("f", "wb") as asynchronous:
        await vm.download("f", asynchronous)


async def sources(vm: AsyncVM, archive: tarfile.TarFile, pieces: AsyncIterator[bytearray | memoryview]) -> None:
    await vm.upload(gzip.open("f.gz"), "f")
    await vm.upload(gzip.open("f.gz", "rb"), "f")
    await vm.upload(lzma.open("f.xz"), "f")
    await vm.upload(bz2.BZ2File("f.bz2"), "f")
    await vm.upload(tempfile.SpooledTemporaryFile(), "f")
    await vm.upload(tempfile.NamedTemporaryFile(), "f")
    await vm.upload(io.BufferedReader(io.FileIO("f")), "f")
    await vm.upload(io.FileIO("f"), "f")
    await vm.upload(zipfile.ZipFile("f.zip").open("inner"), "f")
    if (member := archive.extractfile("inner")) is not None:
        await vm.upload(member, "f")
    with urllib.request.urlopen("https://host") as response:
        await vm.upload(response, "f")
    await vm.upload(mmap.mmap(-1, 10), "f")
    await vm.upload(Own(), "f")
    await vm.upload(OwnAsync(), "f")
    await vm.upload([b"a", bytearray(b"b"), memoryview(b"c")], "f")
    await vm.upload(pieces, "f")
    async with await anyio.open_file("f", "rb") as asynchronous:
        await vm.upload(asynchronous, "f")


async def outputs(vm: AsyncVM, session: AsyncSession) -> None:
    with gzip.open("log.gz", "wb") as zipped, gzip.open("log.gz", "wt") as text, open("log", "w") as plain:
        await vm.run("make", on_stdout=zipped, on_stderr=text)
        await vm.run("make", on_stdout=plain, on_stderr=sys.stderr.buffer)
    await session.run("make", on_stdout=io.StringIO(), on_stderr=io.BytesIO())
    await session.run("make", on_stdout=Tee(), on_stderr=Own())
    async with await anyio.open_file("log", "w") as awaited:
        await vm.run("make", on_stdout=awaited)
    await vm.run("make", on_stdout=codecs.getwriter("utf-8")(sys.stdout.buffer), on_stderr=print)
    await vm.run("make", on_stdout=tempfile.NamedTemporaryFile("w"), on_stderr=tempfile.SpooledTemporaryFile())


def blocking(vm: VM, fleet: Fleet, pieces: Iterator[bytes]) -> None:
    with gzip.open("f.gz", "wb") as zipped, lzma.open("f.xz", "rb") as smallest:
        vm.download("f", zipped)
        vm.upload(smallest, "f")
        vm.upload(pieces, "f")
        vm.run("make", on_stdout=zipped, on_stderr=Tee())
        fleet.run("make", on_stdout=zipped, on_stderr=Tee())


def injected(source: UploadSource, target: DownloadTarget, output: OutputTarget) -> None:
    """Names that a program's own functions use."""
    reader: ReadableFile = gzip.GzipFile("f.gz")
    writer: WritableFile = gzip.GzipFile("f.gz", "w")
    texts: WritableText = io.StringIO()
    print(reader, writer, texts, source, target, output)
