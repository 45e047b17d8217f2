"""Where the bytes of an upload come from: memory, a local file, a file object, an iterable; each can be read again."""

from __future__ import annotations

import errno
import io
import os
import stat
import tempfile
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import IO, Any, Final, Protocol, TypeGuard, cast

from arker._files.descriptor import Descriptor
from arker._files.job import finished_in_thread, in_thread, opened_in_thread
from arker._files.ranges import MIB
from arker.errors import FileChangedError, InvalidArgumentError, LocalFileError
from arker.models import CHUNK_SIZE, MAX_PUT_SIZE

Buffer = bytes | memoryview

_EXPECTED: Final = "expected a path, bytes, a binary file object, or an iterable of bytes (asynchronous or not)"


class Source(Protocol):
    """A known number of bytes. The functions may block, but for those of `MemorySource`; they raise `TransferError`."""

    @property
    def size(self) -> int: ...

    @property
    def in_memory(self) -> bool:
        """Whether reading costs nothing."""
        ...

    def read(self, start: int, end: int) -> Buffer:
        """The bytes ``[start, end)``; any thread may ask, and several at once."""
        ...

    def check(self) -> None:
        """Raise `FileChangedError` if what was read so far may be a mixture."""
        ...

    def close(self) -> None:
        """Let go of it. What is being read by another thread is read to its end first, there."""
        ...


class MemorySource:
    """Bytes that the caller has."""

    in_memory = True

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.size = len(data)

    def read(self, start: int, end: int) -> memoryview:
        return self._data[start:end]

    def check(self) -> None:
        return None

    def close(self) -> None:
        return None


class FileSource:
    """A regular file of this machine, from some place on."""

    in_memory = False

    def __init__(self, fd: int, name: str | None, base: int = 0) -> None:
        """Take over a descriptor.

        Args:
            fd: Open for reading; closed with this object.
            name: What the file is called, for errors.
            base: Where it begins.
        """
        self._file = Descriptor(fd)
        self._name = name
        self._base = base
        self._before = _version(os.fstat(fd))
        self.size = max(0, self._before[0] - base)

    def read(self, start: int, end: int) -> bytes:
        piece = self._pread(end - start, self._base + start)
        while len(piece) < end - start:
            more = self._pread(end - start - len(piece), self._base + start + len(piece))
            if not more:
                raise self._changed("is shorter than it was")
            piece += more
        return piece

    def _pread(self, count: int, offset: int) -> bytes:
        try:
            return self._file.pread(count, offset)
        except OSError as error:
            raise LocalFileError(error, self._name) from error

    def check(self) -> None:
        if self._file.use(lambda fd: _version(os.fstat(fd))) != self._before:
            raise self._changed("is not what it was")
        # Some files say nothing of their size, such as those of /proc.
        if self._pread(1, self._base + self.size):
            raise self._changed("is longer than it says")

    def _changed(self, how: str) -> FileChangedError:
        return FileChangedError(f"{self._name or 'the file'} {how}: it has changed while it was being read")

    def close(self) -> None:
        self._file.close()


class ObjectSource:
    """A file object that can seek, read by one thread at a time."""

    in_memory = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._closed = False
        self._base = file.tell()
        self.size = max(0, file.seek(0, os.SEEK_END) - self._base)
        file.seek(self._base)

    def read(self, start: int, end: int) -> bytes:
        pieces: list[bytes] = []
        with self._lock:
            try:
                if self._closed:
                    raise ValueError("the transfer is over")
                self._file.seek(self._base + start)
                while start < end:
                    piece = self._file.read(end - start)
                    if not piece:
                        raise FileChangedError("the file object gives fewer bytes than its size")
                    pieces.append(piece)
                    start += len(piece)
            except OSError as error:
                raise LocalFileError(error) from error
            except ValueError as error:  # it was closed
                raise LocalFileError(OSError(errno.EBADF, str(error))) from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def check(self) -> None:
        with self._lock:
            if self._file.seek(0, os.SEEK_END) - self._base != self.size:
                raise FileChangedError("the file object has another size than before")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if not self._file.closed:
                self._file.seek(self._base + self.size)


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


# --- what callers give -----------------------------------------------------------------------------------------------


def is_buffer(value: object) -> TypeGuard[bytes | bytearray | memoryview[int]]:
    return isinstance(value, (bytes, bytearray, memoryview))


def is_path(value: object) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(value, (str, os.PathLike))


def check_local(argument: str, value: object) -> str:
    """A path of this machine, as text."""
    text: object = os.fspath(value) if is_path(value) else value
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidArgumentError(argument, value, "expected a path, as a string or os.PathLike of one")
    return text


def check_buffer(argument: str, data: object) -> memoryview:
    """Bytes of whatever kind, as a flat view."""
    if not is_buffer(data):
        expected = "expected bytes, a bytearray or a memoryview (encode text first: text.encode())"
        raise InvalidArgumentError(argument, data, expected)
    try:
        view = memoryview(data)
        if not view.c_contiguous:
            raise InvalidArgumentError(argument, data, "expected a contiguous memoryview")
        return view.cast("B")
    except InvalidArgumentError:
        raise
    except ValueError as error:  # also one that has been released
        raise InvalidArgumentError(argument, data, f"expected a memoryview that can be read ({error})") from None


def check_data(data: object) -> memoryview:
    """What `AsyncVM.sync` may write."""
    view = check_buffer("data", data)
    if len(view) > MAX_PUT_SIZE:
        raise InvalidArgumentError("data", data, f"expected at most {MAX_PUT_SIZE} bytes (5 GiB), got {len(view)}")
    return view


def check_source(argument: str, value: object) -> None:
    """Refuse what cannot be a source, before anything is sent."""
    if is_buffer(value):
        check_buffer(argument, value)
    elif is_path(value):
        check_local(argument, value)
    elif not _gives_bytes(value):
        raise InvalidArgumentError(argument, value, _EXPECTED)
    elif isinstance(value, io.TextIOBase):
        raise InvalidArgumentError(argument, value, "expected a file object opened in binary mode ('rb')")


def _gives_bytes(value: object) -> bool:
    """Whether it looks like a file object or an iterable; what comes of it is seen when it is read."""
    if isinstance(value, Mapping):
        return False
    return isinstance(value, (AsyncIterable, Iterable)) or callable(getattr(value, "read", None))


async def open_source(argument: str, value: Any) -> Source:
    """A source that was checked, ready to be read; the caller closes it."""
    if is_buffer(value):
        return MemorySource(check_buffer(argument, value))
    if is_path(value):
        name = check_local(argument, value)
        return await opened_in_thread(lambda: open_file(name), FileSource.close)
    if isinstance(value, AsyncIterable):
        return await _spool_iterable(argument, cast("AsyncIterable[object]", value))
    if type(value) is io.BytesIO:
        # Its buffer is shared, not copied, and not locked against the caller.
        view = memoryview(value.getvalue())[value.tell() :]
        value.seek(0, os.SEEK_END)
        return MemorySource(view)
    if not callable(getattr(value, "read", None)):
        return await _spool_iterable(argument, _InThread(iter(cast("Iterable[object]", value))))
    source = await opened_in_thread(lambda: _of_object(argument, value), lambda made: made.close() if made else None)
    return source if source is not None else await _spool_object(argument, value)


def open_file(name: str) -> FileSource:
    """A regular file of this machine; blocks."""
    try:
        # Opening a pipe would wait for whoever writes to it.
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


_BUFFERED: Final[tuple[type, ...]] = (io.BufferedReader, io.BufferedRandom)
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)


def _of_object(argument: str, file: Any) -> Source | None:
    """A file object as a source; None if it cannot seek. Blocks."""
    try:
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
            file.seek(base + source.size)
            return source
        return ObjectSource(file)
    except OSError as error:
        raise LocalFileError(error) from error
    except ValueError as error:  # it was closed
        raise InvalidArgumentError(argument, file, f"expected a file object that can be read ({error})") from None


def _seekable(file: Any) -> bool:
    ask: Callable[[], bool] | None = getattr(file, "seekable", None)
    return callable(getattr(file, "seek", None)) and callable(getattr(file, "tell", None)) and (ask is None or ask())


# --- bytes that come once --------------------------------------------------------------------------------------------


class _Spool:
    """Bytes that come once, kept so that they can be sent again: a few in memory, more in a file without a name."""

    def __init__(self, argument: str, value: object) -> None:
        self._argument = argument
        self._value = value
        self._start = bytearray()
        self._file: IO[bytes] | None = None

    async def add(self, piece: object) -> None:
        if not is_buffer(piece):
            expected = f"expected bytes from it, got {type(piece).__name__}"
            raise InvalidArgumentError(self._argument, self._value, expected)
        self._start += piece
        if len(self._start) > CHUNK_SIZE:
            await finished_in_thread(self._write)

    def _write(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - `close` does it
            view = memoryview(self._start)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise LocalFileError(error, tempfile.gettempdir()) from error
        finally:
            self._start = bytearray()

    async def source(self) -> Source:
        if self._file is None:
            return MemorySource(memoryview(self._start))
        if self._start:
            await finished_in_thread(self._write)
        return FileSource(os.dup(self._file.fileno()), "the temporary file")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


async def _spool_iterable(argument: str, pieces: AsyncIterable[object]) -> Source:
    spool = _Spool(argument, pieces)
    try:
        async for piece in pieces:
            await spool.add(piece)
        return await spool.source()
    finally:
        spool.close()


class _InThread(AsyncIterator[object]):
    """An ordinary iterator: each item is waited for in a thread."""

    def __init__(self, items: Iterator[object]) -> None:
        self._items = items

    async def __anext__(self) -> object:
        found = await in_thread(_next, self._items)
        if not found:
            raise StopAsyncIteration
        return found[0]


def _next(items: Iterator[object]) -> tuple[object] | tuple[()]:
    # A StopIteration does not come through a future.
    for item in items:
        return (item,)
    return ()


async def _spool_object(argument: str, file: IO[bytes]) -> Source:
    spool = _Spool(argument, file)
    try:
        while piece := await in_thread(_read_some, file):
            await spool.add(piece)
        return await spool.source()
    finally:
        spool.close()


def _read_some(file: IO[bytes]) -> bytes:
    try:
        return file.read(MIB)
    except OSError as error:
        raise LocalFileError(error) from error


__all__ = [
    "Buffer",
    "FileSource",
    "MemorySource",
    "Source",
    "check_buffer",
    "check_data",
    "check_local",
    "check_source",
    "is_buffer",
    "is_path",
    "open_file",
    "open_source",
]
