"""Sources of an upload: memory, a local file, a file object, an iterable. Each can be read again."""

from __future__ import annotations

import codecs
import errno
import inspect
import io
import os
import threading
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import IO, Any, Final, Protocol, TypeGuard, cast

from arker._files.descriptor import Descriptor
from arker.errors import FileChangedError, InvalidArgumentError, LocalFileError
from arker.models import MAX_PUT_SIZE

Buffer = bytes | memoryview

_EXPECTED: Final = "expected a path, bytes, a binary file object, or an iterable of bytes"
_LONGEST_NAME: Final = 120
"""Characters of an object's name in an error."""


_NOTHING: Final = memoryview(b"")
_CODECS: Final = (codecs.StreamReader, codecs.StreamWriter, codecs.StreamReaderWriter)
"""Classes of text whose mode is that of the binary file beneath."""


class Source(Protocol):
    """A known number of bytes.

    The functions may block, except those of `MemorySource`; they raise `TransferError`.
    """

    @property
    def size(self) -> int: ...

    @property
    def in_memory(self) -> bool:
        """Whether the bytes are in memory, so that reading is free."""
        ...

    def read(self, start: int, end: int) -> Buffer:
        """Return the bytes ``[start, end)``. Threads may call it concurrently."""
        ...

    def check(self) -> None:
        """Raise `FileChangedError` if the bytes read so far may come from different versions."""
        ...

    def close(self) -> None:
        """Close the source. A read that is going on in another thread ends first."""
        ...


class MemorySource:
    """The caller's bytes in memory."""

    in_memory = True

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.size = len(data)

    def read(self, start: int, end: int) -> memoryview:
        return self._data[start:end]

    def check(self) -> None:
        return None

    def close(self) -> None:
        self._data = _NOTHING  # what lends its memory, such as an mmap, cannot be closed before it is given back


class FileSource:
    """A regular local file, from an offset on."""

    in_memory = False

    def __init__(self, fd: int, name: str | None, base: int = 0) -> None:
        """Take over a descriptor.

        Args:
            fd: Open for reading; closed with this object.
            name: The file's name, for errors.
            base: The offset of its first byte.
        """
        self._file = Descriptor(fd)
        self._name = name
        self._base = base
        status = os.fstat(fd)
        self._before = _version(status)
        self._sparse = getattr(status, "st_blocks", 1) == 0
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
        if self._pread(1, self._base + self.size):
            raise self._changed("is longer than it says")

    def misleads(self) -> bool:
        """Return whether the file's size is wrong, as in /proc and /sys; blocks."""
        if self.size == 0:
            return self._pread(1, self._base) != b""
        return self._sparse and self._pread(1, self._base + self.size - 1) == b""

    def read_on(self, start: int, most: int) -> bytes:
        """Return some bytes from an offset on; none at the real end of the file."""
        return self._pread(most, self._base + start)

    def _changed(self, how: str) -> FileChangedError:
        return FileChangedError(f"{self._name or 'the file'} {how}: it has changed while it was being read")

    def close(self) -> None:
        self._file.close()


class ObjectSource:
    """A seekable file object, read by one thread at a time."""

    in_memory = False

    def __init__(self, argument: str, file: IO[bytes]) -> None:
        self._argument = argument
        self._file = file
        self._name = name_of(file)
        self._lock = threading.Lock()
        self._closed = False
        self._base = file.tell()
        self.size = max(0, self._end() - self._base)
        file.seek(self._base)

    def _end(self) -> int:
        end: Any = self._file.seek(0, os.SEEK_END)
        return end if isinstance(end, int) else self._file.tell()  # not every object returns the position

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
                        raise FileChangedError(f"{self._name} gives fewer bytes than its size")
                    check_piece(self._argument, self._file, piece)
                    pieces.append(piece)
                    start += len(piece)
            except OSError as error:
                raise LocalFileError(error, self._name) from error
            except InvalidArgumentError:
                raise
            except ValueError as error:  # it was closed
                raise LocalFileError(OSError(errno.EBADF, str(error)), self._name) from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def check(self) -> None:
        with self._lock:
            if self._end() - self._base != self.size:
                raise FileChangedError(f"{self._name} has another size than before")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if not getattr(self._file, "closed", False):
                self._file.seek(self._base + self.size)


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


# --- what callers give -----------------------------------------------------------------------------------------------


def is_buffer(value: object) -> TypeGuard[bytes | bytearray | memoryview[int]]:
    """Return whether an object's bytes are in memory, as those of `mmap.mmap` and `array.array` are."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return True
    try:
        memoryview(cast("bytes", value)).release()
    except TypeError:
        return False
    except (BufferError, ValueError):  # it is one, but not at present: the check that follows says why
        pass
    return True


def name_of(file: object) -> str:
    """Return the name by which a caller knows an object."""
    name = getattr(file, "name", None)
    if isinstance(name, str) and name:
        return name
    try:
        shown = repr(file)
    except Exception:
        shown = f"<{type(file).__name__}>"
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}…"


def is_path(value: object) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(value, (str, os.PathLike))


def check_local(argument: str, value: object) -> str:
    """Check a local path, and return it as text."""
    text: object = os.fspath(value) if is_path(value) else value
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidArgumentError(argument, value, "expected a path, as a string or os.PathLike of one")
    return text


def check_buffer(
    argument: str, data: object, *, expected: str = "expected bytes, a bytearray or a memoryview"
) -> memoryview:
    """Return a bytes-like object as a flat view."""
    if not is_buffer(data):
        raise InvalidArgumentError(argument, data, expected)
    try:
        view = memoryview(data)
        if not view.c_contiguous:
            raise InvalidArgumentError(argument, data, "expected a contiguous memoryview")
        return view.cast("B")
    except InvalidArgumentError:
        raise
    except (BufferError, TypeError, ValueError) as error:  # also one that has been released
        raise InvalidArgumentError(argument, data, f"expected a memoryview that can be read ({error})") from None


def check_data(data: object) -> memoryview:
    """Check what `AsyncVM.sync` is to write."""
    expected = "expected text, bytes, a bytearray or a memoryview"
    if is_path(data) or callable(getattr(data, "read", None)):
        expected += "; vm.upload takes paths and file objects"
    view = check_buffer("data", data, expected=expected)
    if len(view) > MAX_PUT_SIZE:
        raise InvalidArgumentError("data", data, f"expected at most {MAX_PUT_SIZE} bytes (5 GiB), got {len(view)}")
    return view


def check_typed(data: object) -> bytes:
    """Return the bytes of what a caller writes to a command or types into a terminal; text becomes UTF-8."""
    if is_buffer(data):
        return bytes(check_buffer("data", data))
    if isinstance(data, str):
        try:
            return data.encode()
        except UnicodeEncodeError:
            pass
    raise InvalidArgumentError("data", f"(of type {type(data).__name__})", "expected bytes, or text without surrogates")


def check_source(argument: str, value: object) -> None:
    """Refuse an invalid source before anything is sent."""
    if is_buffer(value):
        check_buffer(argument, value)
    elif is_path(value):
        check_local(argument, value)
    elif not _gives_bytes(value):
        raise InvalidArgumentError(argument, value, _EXPECTED)
    elif callable(getattr(value, "read", None)):
        if is_text_file(value):
            raise InvalidArgumentError(argument, value, "expected a file object opened in binary mode ('rb')")
        if not (is_read_by_size(value) or isinstance(value, (AsyncIterable, Iterable))):
            expected = "expected a file object whose read takes a number of bytes"
            hint = "of an HTTP response, give its content, or an iterator over its bytes"
            raise InvalidArgumentError(argument, value, f"{expected}; {hint}")


def _gives_bytes(value: object) -> bool:
    """Return whether it looks like a file object or an iterable. Its content is checked when it is read."""
    if isinstance(value, Mapping):
        return False
    return isinstance(value, (AsyncIterable, Iterable)) or callable(getattr(value, "read", None))


def is_text_file(file: object) -> bool:
    """Return whether a file object is one for text; those of `tempfile` say so by their encoding only."""
    return isinstance(file, (io.TextIOBase, *_CODECS)) or isinstance(getattr(file, "encoding", None), str)


def is_read_by_size(value: object) -> bool:
    """Return whether an object has a ``read`` that takes a number of bytes."""
    read = getattr(value, "read", None)
    if not callable(read):
        return False
    try:
        inspect.signature(read).bind(1)
    except TypeError:
        return False
    except ValueError:  # it does not tell
        pass
    return True


def check_piece(argument: str, value: object, piece: object) -> None:
    """Refuse what an object gives that are no bytes."""
    if not is_buffer(piece):
        raise InvalidArgumentError(argument, value, f"expected bytes from it, got {type(piece).__name__}")


__all__ = [
    "Buffer",
    "FileSource",
    "MemorySource",
    "ObjectSource",
    "Source",
    "check_buffer",
    "check_data",
    "check_local",
    "check_piece",
    "check_source",
    "check_typed",
    "is_buffer",
    "is_path",
    "is_read_by_size",
    "is_text_file",
    "name_of",
]
