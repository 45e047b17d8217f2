"""What a caller gives as a source of an upload, opened for reading."""

from __future__ import annotations

import errno
import inspect
import io
import os
import stat
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, Final, cast

from arker._files.job import opened_in_thread
from arker._files.sources import (
    FileSource,
    MemorySource,
    ObjectSource,
    Source,
    check_buffer,
    check_local,
    is_buffer,
    is_path,
    is_read_by_size,
    name_of,
)
from arker._files.spool import InThread, spool_file, spool_iterable, spool_object
from arker._tasks.threads import finished_in_thread
from arker.errors import InvalidArgumentError, LocalFileError

_BUFFERED: Final[tuple[type, ...]] = (io.BufferedReader, io.BufferedRandom)
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)


async def open_source(argument: str, value: Any) -> Source:
    """Open a checked source for reading. The caller closes it."""
    if is_buffer(value):
        return MemorySource(check_buffer(argument, value))
    if is_path(value):
        name = check_local(argument, value)
        file, misleads = await opened_in_thread(lambda: _look_into(open_file(name)), lambda made: made[0].close())
        return await spool_file(argument, value, file) if misleads else file
    by_size = is_read_by_size(value)
    if by_size and inspect.iscoroutinefunction(value.read):
        # Its iteration would go by lines, which may be short, or longer than asyncio's streams take.
        return await spool_object(argument, value)
    if isinstance(value, AsyncIterable):
        return await spool_iterable(argument, cast("object", value), cast("AsyncIterable[object]", value))
    if type(value) is io.BytesIO and not value.closed:
        # Its buffer is shared, not copied, and not locked against the caller.
        view = memoryview(value.getvalue())[value.tell() :]
        value.seek(0, os.SEEK_END)
        return MemorySource(view)
    if not by_size:
        return await spool_iterable(argument, value, InThread(iter(cast("Iterable[object]", value))))
    source = await opened_in_thread(lambda: _of_object(argument, value), lambda made: made.close() if made else None)
    return source if source is not None else await spool_object(argument, value)


def open_file(name: str) -> FileSource:
    """Open a regular local file; blocks."""
    try:
        # Opening a pipe would wait for its writer.
        fd = os.open(name, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    except OSError as error:
        raise LocalFileError(error, name) from error
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
            problem = OSError(number, os.strerror(number) if number == errno.EISDIR else "not a regular file")
            raise LocalFileError(problem, name) from problem
        return FileSource(fd, name)
    except BaseException:
        os.close(fd)
        raise


def _of_object(argument: str, file: Any) -> Source | None:
    """Make a source of a seekable file object; blocks.

    Return None if it has to be read to its end, because it cannot seek or its size is wrong.
    """
    try:
        if _is_only_written(file):
            raise InvalidArgumentError(argument, file, "expected a file object that is open for reading")
        if not _seekable(file):
            return None
        raw: Any = getattr(file, "raw", file) if type(file) in _BUFFERED else file
        # Of any other object, such as one that decompresses, the descriptor is not where its bytes are.
        if type(raw) is io.FileIO and stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
            if file.writable():
                file.flush()
            base = file.tell()
            name = raw.name if isinstance(raw.name, str) else None
            source = FileSource(os.dup(raw.fileno()), name, base)
            if source.misleads():
                source.close()
                return None
            file.seek(base + source.size)
            return source
        return ObjectSource(argument, file)
    except OSError as error:
        raise LocalFileError(error, name_of(file)) from error
    except InvalidArgumentError:
        raise
    except ValueError as error:  # it was closed
        raise InvalidArgumentError(argument, file, f"expected a file object that can be read ({error})") from None


def _is_only_written(file: Any) -> bool:
    """Return whether a file object says that it cannot be read. Where it is at its end, reading it would not tell."""
    ask: Any = getattr(file, "readable", None)
    return callable(ask) and not inspect.iscoroutinefunction(ask) and ask() is False


def _seekable(file: Any) -> bool:
    if inspect.iscoroutinefunction(getattr(file, "seek", None)):
        return False
    ask: Callable[[], bool] | None = getattr(file, "seekable", None)
    return callable(getattr(file, "seek", None)) and callable(getattr(file, "tell", None)) and (ask is None or ask())


async def close_source(source: Source) -> None:
    """Close a source. A read of a caller's object in another thread ends first, while the loop goes on."""
    if isinstance(source, ObjectSource):
        await finished_in_thread(source.close)
    else:
        source.close()


def _look_into(file: FileSource) -> tuple[FileSource, bool]:
    try:
        return file, file.misleads()
    except BaseException:
        file.close()
        raise


__all__ = ["close_source", "open_file", "open_source"]
