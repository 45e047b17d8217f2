"""Local temporary files without a name. Their errors name the directory that they are in."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO

from arker._files.sources import FileSource, MemorySource, Source
from arker.errors import LocalFileError


def temporary_directory() -> str | None:
    """Return the directory of temporary files; None if there is none, of which the error names all that were tried."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return None


@contextmanager
def named_errors() -> Generator[None, None, None]:
    """Raise operating system errors of temporary files as `LocalFileError`, with the directory's name."""
    try:
        yield
    except LocalFileError:
        raise
    except OSError as error:
        raise LocalFileError(error, temporary_directory()) from error
    except ValueError as error:  # it was closed
        raise LocalFileError(OSError(errno.EBADF, str(error)), temporary_directory()) from error


class TemporaryFile:
    """A local file for what is too much for memory. It is removed when it is closed, or goes with this object.

    The functions block. They raise `LocalFileError`.
    """

    def __init__(self, *, in_memory: int = 0) -> None:
        """Make the file.

        Args:
            in_memory: The number of bytes up to which they stay in memory.
        """
        self._in_memory = in_memory
        self._file: IO[bytes] = io.BytesIO() if in_memory else self._made()

    def _made(self) -> IO[bytes]:
        with named_errors():
            # What a buffer holds would have to be written when the file is closed, and could fail there.
            return tempfile.TemporaryFile(buffering=0)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write some bytes, all of them."""
        with named_errors(), memoryview(data) as view:
            if isinstance(self._file, io.BytesIO) and self._file.tell() + len(view) > self._in_memory:
                start, self._file = self._file.getvalue(), self._made()
                _write(self._file, memoryview(start))
            _write(self._file, view)
            return len(view)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, fewer than ``size`` only at the end."""
        with named_errors():
            if size < 0:
                return self._file.read()
            data = self._file.read(size)
            while len(data) < size and (more := self._file.read(size - len(data))):
                data += more
            return data

    def seek(self, offset: int) -> int:
        """Go to a position."""
        with named_errors():
            return self._file.seek(offset)

    def source(self) -> Source:
        """Return a source of all bytes. It can be used after this file was closed."""
        if isinstance(self._file, io.BytesIO):
            return MemorySource(memoryview(self._file.getvalue()))
        with named_errors():
            return FileSource(os.dup(self._file.fileno()), temporary_directory())

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


def _write(file: IO[bytes], data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


__all__ = ["TemporaryFile", "named_errors", "temporary_directory"]
