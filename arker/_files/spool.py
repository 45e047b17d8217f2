"""Bytes that come only once, copied so that they can be sent again."""

from __future__ import annotations

import errno
import inspect
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterator
from typing import TYPE_CHECKING, Final, cast

from arker._files.ranges import MIB
from arker._files.sources import FileSource, MemorySource, Source, check_piece, name_of
from arker._files.temporary import TemporaryFile
from arker._tasks import clock
from arker._tasks.threads import finished_in_thread, in_own_thread, in_thread
from arker.errors import LocalFileError
from arker.models import CHUNK_SIZE

if TYPE_CHECKING:
    from arker.transfer import ReadableFile


_DRAW_SECONDS: Final = 0.005
"""Seconds for which a thread draws small pieces: to start it for each of them would take longer than they do."""


class _Spool:
    """A copy of bytes that come only once: a few in memory, more in an unnamed file, so that they can be sent again."""

    def __init__(self, argument: str, value: object) -> None:
        self._argument = argument
        self._value = value
        self._start = bytearray()
        self._file: TemporaryFile | None = None

    async def add(self, piece: object) -> None:
        check_piece(self._argument, self._value, piece)
        view = memoryview(cast("bytes", piece))
        self._start += view if view.c_contiguous else view.tobytes()
        if len(self._start) > CHUNK_SIZE:
            await finished_in_thread(self._write)

    def _write(self) -> None:
        try:
            if self._file is None:
                self._file = TemporaryFile()
            self._file.write(self._start)
        finally:
            self._start = bytearray()

    async def source(self) -> Source:
        if self._file is None:
            return MemorySource(memoryview(self._start))
        if self._start:
            await finished_in_thread(self._write)
        return self._file.source()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


async def spool_iterable(argument: str, value: object, pieces: AsyncIterable[object]) -> Source:
    spool = _Spool(argument, value)
    try:
        async for piece in pieces:
            await spool.add(piece)
        return await spool.source()
    finally:
        spool.close()


class InThread(AsyncIterator[object]):
    """An ordinary iterator whose items are awaited in a thread."""

    def __init__(self, items: Iterator[object]) -> None:
        self._items = items
        self._drawn: deque[object] = deque()

    async def __anext__(self) -> object:
        if not self._drawn:
            self._drawn.extend(await in_own_thread(_draw, self._items))
        if not self._drawn:
            raise StopAsyncIteration
        return self._drawn.popleft()


def _draw(items: Iterator[object]) -> list[object]:
    """Return what comes next: one item, or several that come at once. Nothing at the end."""
    drawn: list[object] = []
    size, until = 0, clock.now() + _DRAW_SECONDS
    for item in items:
        drawn.append(item)
        try:
            size += memoryview(cast("bytes", item)).nbytes
        except (TypeError, BufferError, ValueError):  # it cannot be sent: `_Spool.add` refuses it
            break
        if size >= MIB or clock.now() >= until:
            break
        if not isinstance(item, bytes):
            # Before it gives the next one, it may change its buffer, or release it.
            drawn[-1] = memoryview(cast("bytes", item)).tobytes()
    return drawn


async def spool_object(argument: str, file: ReadableFile) -> Source:
    spool = _Spool(argument, file)
    is_awaited = inspect.iscoroutinefunction(file.read)
    try:
        while piece := await _piece(file, is_awaited=is_awaited):
            await spool.add(piece)
        return await spool.source()
    finally:
        spool.close()


async def _piece(file: ReadableFile, *, is_awaited: bool) -> bytes:
    try:
        found = file.read(MIB) if is_awaited else await in_own_thread(file.read, MIB)
        # Some objects hand their calls over to another one, and are coroutine functions by what they return only.
        piece = cast("bytes | None", await found if isinstance(found, Awaitable) else found)
        if piece is None:
            raise BlockingIOError(errno.EAGAIN, "the file object is one that does not wait")
    except OSError as error:
        raise LocalFileError(error, name_of(file)) from error
    return piece


async def spool_file(argument: str, value: object, file: FileSource) -> Source:
    spool, position = _Spool(argument, value), 0
    try:
        while piece := await in_thread(file.read_on, position, MIB):
            position += len(piece)
            await spool.add(piece)
        return await spool.source()
    finally:
        spool.close()
        file.close()


__all__ = ["InThread", "spool_file", "spool_iterable", "spool_object"]
