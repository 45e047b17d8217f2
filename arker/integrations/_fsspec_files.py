"""Open files of fsspec's filesystem, and the end of those that a program leaves open."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from typing import IO, Any, TypeAlias

from fsspec.asyn import AbstractAsyncStreamedFile, sync
from fsspec.spec import AbstractBufferedFile

from arker import AsyncArker, AsyncRemoteFile

logger = logging.getLogger("arker")

_FileSystem: TypeAlias = Any
"""An `ArkerFileSystem`, of the module that imports this one."""
_SPOOL = 8 * 1024 * 1024
_SECONDS_TO_CLOSE = 10.0

_ending: set[asyncio.Task[None]] = set()
"""The ends of files that were garbage: an event loop itself does not keep its tasks."""


class _Content:
    """What is read of a VM's file, or is written to it."""

    fs: _FileSystem
    path: str
    mode: str
    buffer: Any
    _read_from: AsyncRemoteFile[bytes] | None = None
    _spool: IO[bytes] | None = None

    async def _fetch(self, start: int, end: int) -> bytes:
        assert self._read_from is not None
        self._read_from.seek(start)
        return await self._read_from.read(end - start)

    def _begin(self) -> None:
        self._spool = tempfile.SpooledTemporaryFile(_SPOOL)  # noqa: SIM115 - it is closed with the file

    def _keep(self) -> None:
        assert self._spool is not None
        self._spool.write(self.buffer.getvalue())

    async def _send(self) -> None:
        assert self._spool is not None
        vm, inner = await self.fs._place(self.path)
        self._spool.seek(0)
        if "a" in self.mode:
            await vm.files.write_bytes(inner, self._spool.read(), append=True, parents=True)
        else:
            await self.fs._check_new(vm, inner, "create" if "x" in self.mode else "overwrite")
            await vm.upload(self._spool, inner)
        self._spool.close()
        self.fs._changed(self.path)

    async def _let_go(self) -> None:
        file, self._read_from = self._read_from, None
        if file is not None:
            await file.aclose()


class ArkerFile(_Content, AbstractBufferedFile):
    """An open file of a VM: read by ranges of one version, or written as a whole when it is closed."""

    def __init__(self, fs: _FileSystem, path: str, mode: str = "rb", *args: Any, **options: Any) -> None:
        if mode == "rb":
            self._read_from = sync(fs.loop, fs._opened, path)
            options["size"] = self._read_from.size  # that of the version which is read, whatever becomes of the file
        super().__init__(fs, path, mode, *args, **options)
        if mode == "ab":
            self.loc = sync(fs.loop, fs._size_before, path)
        fs._open_files[id(self)] = self  # by this number, since fsspec's hash of a file is a request

    def _fetch_range(self, start: int, end: int) -> bytes:
        data: bytes = sync(self.fs.loop, self._fetch, start, end)
        return data

    def _initiate_upload(self) -> None:
        self._begin()

    def _upload_chunk(self, final: bool = False) -> bool:
        self._keep()
        if final and self.autocommit:
            self.commit()
        return True

    def commit(self) -> None:
        """Write the file into the VM."""
        if not self.autocommit:
            self.close()  # the transaction ends before the program has closed it
        carry_out(self.fs.loop, self._send, self.full_name)

    def discard(self) -> None:
        """Forget what was written."""
        self.closed = True
        if self._spool is not None:
            self._spool.close()

    def close(self) -> None:
        """Close the file; one that is written goes into the VM."""
        if sys.is_finalizing() or self.fs._pid != os.getpid():
            self.closed = True  # the thread that carries out its work has ended, or is the parent's
            return
        try:
            super().close()
        finally:
            if self._read_from is not None:
                carry_out(self.fs.loop, self._let_go, self.full_name)


class ArkerStreamedFile(_Content, AbstractAsyncStreamedFile):
    """An open file of a VM for coroutines: `ArkerFileSystem.open_async` returns one."""

    def __init__(
        self, fs: _FileSystem, path: str, mode: str, read_from: AsyncRemoteFile[bytes] | None, **options: Any
    ) -> None:
        self._read_from = read_from
        super().__init__(fs, path, mode, size=None if read_from is None else read_from.size, **options)

    async def _fetch_range(self, start: int, end: int) -> bytes:
        return await self._fetch(start, end)

    async def _initiate_upload(self) -> None:
        self._begin()

    async def _upload_chunk(self, final: bool = False) -> bool:
        self._keep()
        if final:
            await self._send()
        return True

    async def close(self) -> None:
        """Close the file; one that is written goes into the VM."""
        try:
            await super().close()
        finally:
            await self._let_go()

    def __del__(self) -> None:
        """Leave it as it is: fsspec's own method would make a coroutine that nothing awaits."""


def carry_out(
    loop: asyncio.AbstractEventLoop,
    work: Callable[[], Coroutine[Any, Any, None]],
    name: str,
    seconds: float | None = None,
) -> None:
    """Close something in an event loop, whose own thread cannot wait for it: the garbage collector may run there.

    Args:
        loop: The event loop.
        work: What closes it.
        name: What it is.
        seconds: The most to wait.
    """
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is None or running is not loop:
        sync(loop, work, timeout=seconds)
        return
    task = running.create_task(_told(work, name))
    _ending.add(task)
    task.add_done_callback(_ending.discard)


async def _told(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    try:
        await work()
    except Exception as error:
        logger.warning("%s was not closed by the program, and could not be when it was garbage: %s", name, error)


def end_all(loop: asyncio.AbstractEventLoop, files: Mapping[int, ArkerFile], client: AsyncArker | None) -> None:
    """End the files that a program leaves open at its end, and close the client. Later, the loop's thread has gone.

    What was written to a file may not be all, since text waits in the object that encodes it. So nothing is sent.

    Args:
        loop: The filesystem's event loop.
        files: Those that may be open.
        client: The client, if the filesystem has made it.
    """
    for file in list(files.values()):
        if file.writable():
            logger.warning("%s was not closed before the end of the program: nothing was written", file.full_name)
            file.discard()
        else:
            file.close()
    if client is not None:
        carry_out(loop, client.aclose, "the client of a filesystem", _SECONDS_TO_CLOSE)


__all__ = ["ArkerFile", "ArkerStreamedFile", "carry_out", "end_all"]
