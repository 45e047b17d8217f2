"""Targets of a download: a local file that appears complete or not at all, or a file object, in order."""

from __future__ import annotations

import errno
import inspect
import io
import os
import stat
from collections import deque
from collections.abc import Awaitable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from arker._files.descriptor import Descriptor
from arker._files.ranges import MIB
from arker._files.sources import is_path, is_text_file, name_of
from arker._files.written import drain_of, rest_of
from arker._tasks.cleanup import retrieve
from arker._tasks.threads import begin_in_thread, in_own_thread
from arker.errors import InvalidArgumentError, LocalFileError

if TYPE_CHECKING:
    import asyncio

    from arker._files.job import Tell
    from arker.transfer import WritableFile

FLUSH: Final = MIB // 2
"""Bytes that are collected before a write: each range holds twice as many."""

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class LocalTarget:
    """A temporary file beside its final place, removed unless it is moved there. The functions block."""

    def __init__(self, path: str) -> None:
        directory, name = os.path.split(path)
        self._path = path
        # A long name with more around it could be too long.
        self._beside = os.path.join(directory, f".{name[:60]}.{os.urandom(6).hex()}.part")
        self._file: Descriptor | None = None

    def open(self) -> None:
        """Make the file; raises `LocalFileError`."""
        try:
            try:
                mode = os.lstat(self._path).st_mode
            except FileNotFoundError:
                mode = None
            if mode is not None:
                self._check_replaceable(mode)
            # Permissions as for any new file: the process's mask takes its share.
            fd = os.open(self._beside, _FLAGS, 0o666)
            self._file = Descriptor(fd)
            if mode is not None and stat.S_ISREG(mode) and hasattr(os, "fchmod"):
                os.fchmod(fd, stat.S_IMODE(mode))
        except OSError as error:
            raise self._failed(error) from error

    def _check_replaceable(self, mode: int) -> None:
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
            raise OSError(errno.EINVAL, "not a regular file, and so it is not replaced")

    def _failed(self, error: OSError) -> LocalFileError:
        return LocalFileError(error, self._path)

    def write(self, pieces: Sequence[bytes], offset: int) -> None:
        """Write pieces one after the other. Several threads may write to different offsets."""
        assert self._file is not None
        try:
            self._file.pwrite(pieces, offset)
        except OSError as error:
            raise self._failed(error) from error

    def finish(self) -> None:
        """Move the file into place."""
        assert self._file is not None
        try:
            self._file.close()
            os.replace(self._beside, self._path)
        except OSError as error:
            raise self._failed(error) from error

    def discard(self) -> None:
        """Remove the file, unless it is in its place."""
        if self._file is not None:
            self._file.close()
            try:
                os.unlink(self._beside)
            except OSError:
                pass  # it was moved into its place


def write_small(path: str, content: bytes) -> None:
    """Write a small local file as a whole; blocks."""
    target = LocalTarget(path)
    try:
        target.open()
        target.write([content], 0)
        target.finish()
    finally:
        target.discard()


class SpanWriter:
    """A writer of one range of a file: a thread writes while the next bytes arrive."""

    def __init__(self, target: LocalTarget, start: int, tell: Tell) -> None:
        self._target = target
        self._start = start
        self._offset = start
        self._tell = tell
        self._pieces: list[bytes] = []
        self._count = 0
        self._writing: asyncio.Future[None] | None = None

    async def take(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._count += len(piece)
        if self._count >= FLUSH:
            await self._flush()

    async def _flush(self) -> None:

        if self._writing is not None:
            await self._writing
        if self._pieces:
            pieces, offset = self._pieces, self._offset
            self._offset += self._count
            self._pieces, self._count = [], 0
            self._writing = begin_in_thread(partial(self._target.write, pieces, offset))
            self._writing.add_done_callback(retrieve)
            self._tell(self._offset - self._start)

    async def finish(self) -> None:
        """Wait until everything is written."""
        await self._flush()
        if self._writing is not None:
            await self._writing


class ObjectTarget:
    """A file object of the caller's."""

    def __init__(self, file: WritableFile, tell: Tell) -> None:
        self._file = file
        self._drain = drain_of(file)
        self._in_loop = self._drain is not None or inspect.iscoroutinefunction(file.write)
        self._tell = tell
        self._pieces: list[bytes] = []
        self._count = 0
        self._done = 0

    async def take(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._count += len(piece)
        if self._count >= FLUSH:
            await self.finish()

    async def finish(self) -> None:
        """Write the collected bytes."""
        if self._pieces:
            pieces, self._pieces = deque(self._pieces), []
            self._done, self._count = self._done + self._count, 0
            while pieces:
                # A coroutine that is made in a thread would be lost with a caller who is cancelled meanwhile.
                begun = self._write(pieces) if self._in_loop else await in_own_thread(self._write, pieces)
                if begun is not None:
                    with self._named_errors():
                        self._advance(pieces, await begun)
            if self._drain is not None:
                with self._named_errors():
                    await self._drain()
            self._tell(self._done)

    def _write(self, pieces: deque[bytes]) -> Awaitable[object] | None:
        """Write pieces, up to one whose write has to be awaited: return that, or None when all are written."""
        with self._named_errors():
            while pieces:
                # Not a memoryview, since classes of callers are written for bytes.
                count = self._file.write(pieces[0])
                if isinstance(count, Awaitable):
                    return cast("Awaitable[object]", count)
                self._advance(pieces, count)
        return None

    def _advance(self, pieces: deque[bytes], count: object) -> None:
        if rest := rest_of(self._file, pieces.popleft(), count):
            pieces.appendleft(rest)

    @contextmanager
    def _named_errors(self) -> Generator[None]:
        try:
            yield
        except LocalFileError:
            raise  # it names its file
        except OSError as error:
            raise LocalFileError(error, name_of(self._file)) from error
        except ValueError as error:  # it was closed
            raise LocalFileError(OSError(errno.EBADF, str(error)), name_of(self._file)) from error


def check_target(argument: str, value: object) -> None:
    """Refuse an invalid target before anything is sent."""
    if is_path(value):
        return
    if not callable(getattr(value, "write", None)):
        raise InvalidArgumentError(argument, value, "expected a path, or a file object that can be written to")
    if is_text_file(value):
        raise InvalidArgumentError(argument, value, "expected a file object opened in binary mode ('wb')")
    if getattr(value, "closed", False) is True:
        raise InvalidArgumentError(argument, value, "expected a file object that is open; this one is closed")
    # Classes of callers often have a write method alone, and do not say that they are writable.
    given: Any = value
    if isinstance(given, (io.FileIO, io.BufferedReader)) and not given.writable():
        raise InvalidArgumentError(argument, value, "expected a file object that is open for writing")


__all__ = ["LocalTarget", "ObjectTarget", "SpanWriter", "check_target", "write_small"]
