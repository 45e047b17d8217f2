"""The base of blocking handles that can be used as a file: for programs that read and write files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from arker_sync._bridge.facade import Facade

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class FileLike(Facade):
    """A handle with ``read(size)`` and ``write(data)``."""

    def file(self) -> io.RawIOBase:
        """Return it as a file that is not buffered, for reading and writing bytes; closing the file closes it.

        A read waits for some output, and returns what there is. Put ``io.BufferedReader`` on top for lines.
        """
        return _File(self)


class _File(io.RawIOBase):
    """A handle as a file."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._check_open()
        view = memoryview(buffer).cast("B")
        data: bytes = self._handle.read(len(view)) if view else b""
        view[: len(data)] = data
        return len(data)

    def write(self, data: ReadableBuffer) -> int:
        self._check_open()
        content = bytes(memoryview(data).cast("B"))
        self._handle.write(content)
        return len(content)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")

    def close(self) -> None:
        if not self.closed:
            try:
                self._handle.close()
            finally:
                super().close()

    def __del__(self) -> None:
        """Leave the handle open: only `close` closes it."""


__all__ = ["FileLike"]
