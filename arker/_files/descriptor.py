"""A file descriptor shared by threads: closed after its last user, never during a use."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Descriptor:
    """An open file.

    A cancelled caller leaves a thread behind that still reads or writes, so the number must stay open until then.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False

    def use(self, work: Callable[[int], T]) -> T:
        """Call a function with the descriptor's number; raises `OSError` when the file was closed."""
        with self._lock:
            if self._closed:
                raise OSError(9, "the transfer is over")
            self._users += 1
        try:
            return work(self._fd)
        finally:
            with self._lock:
                self._users -= 1
                last = self._closed and self._users == 0
            if last:
                os.close(self._fd)

    def pread(self, count: int, offset: int) -> bytes:
        return self.use(lambda fd: _pread(self._lock, fd, count, offset))

    def pwrite(self, pieces: Sequence[bytes | memoryview], offset: int) -> None:
        """Write all the pieces, one after the other."""
        self.use(lambda fd: _write_all(self._lock, fd, pieces, offset))

    def close(self) -> None:
        """Close the file, now or when its last user has finished."""
        with self._lock:
            now = not self._closed and self._users == 0
            self._closed = True
        if now:
            os.close(self._fd)


def _write_all(lock: threading.Lock, fd: int, pieces: Sequence[bytes | memoryview], offset: int) -> None:
    for piece in pieces:
        view = memoryview(piece)
        while view:
            count = _pwrite(lock, fd, view, offset)
            offset += count
            view = view[count:]


if sys.platform == "win32":
    # Windows has neither pread nor pwrite, so threads seek and read one at a time.

    def _pread(lock: threading.Lock, fd: int, count: int, offset: int) -> bytes:
        with lock:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.read(fd, count)

    def _pwrite(lock: threading.Lock, fd: int, view: memoryview, offset: int) -> int:
        with lock:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.write(fd, view)
else:

    def _pread(lock: threading.Lock, fd: int, count: int, offset: int) -> bytes:
        return os.pread(fd, count, offset)

    def _pwrite(lock: threading.Lock, fd: int, view: memoryview, offset: int) -> int:
        return os.pwrite(fd, view, offset)


__all__ = ["Descriptor"]
