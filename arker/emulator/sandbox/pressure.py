"""The resources that a machine can lack. A full disk is reported as such, not as a failure of server or bubblewrap."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Final, TypeVar

from arker.emulator.sandbox.base import SandboxError

T = TypeVar("T")

DISK_FULL: Final = "the server's disk is full: no space is left on it, or no inodes"
_REASONS: Final = {
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: "the server has used up its quota of the disk",
    errno.EFBIG: "the server may not write files of such a size (ulimit -f, or the file system's own limit)",
    errno.EMFILE: "the server has reached its limit of open files",
    errno.ENFILE: "the machine has reached its limit of open files",
    errno.ENOMEM: "the machine has no memory left",
    errno.EAGAIN: "the machine has reached its limit of processes",
}
_PATIENCE: Final = 30.0
_PAUSE: Final = 0.2  # seconds


def lack(error: BaseException) -> str | None:
    """Return what is lacking if an exception is about a lack of resources; otherwise None."""
    if isinstance(error, OSError):
        return _REASONS.get(error.errno or 0)
    if isinstance(error, MemoryError):
        return _REASONS[errno.ENOMEM]
    if isinstance(error, RuntimeError) and "new thread" in str(error):
        return _REASONS[errno.EAGAIN]
    return None


def lack_in(text: str) -> str | None:
    """Return what is lacking if a program's message is about a lack of resources; otherwise None."""
    if "namespace" in text and os.strerror(errno.ENOSPC) in text:
        return "the machine has reached its limit of namespaces (user.max_user_namespaces)"
    said = [number for number in _REASONS if os.strerror(number) in text]
    return _REASONS[max(said, key=lambda number: len(os.strerror(number)))] if said else None


@contextmanager
def telling() -> Generator[None]:
    """Convert a lack of resources inside this context to a `SandboxError` with the code ``resource_pressure``."""
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        reason = lack(error)
        if reason is None:
            raise
        raise SandboxError("resource_pressure", reason) from error


class Reserve:
    """A reserve of descriptors for work that has to be possible without any others, such as a deletion.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: list[int] = []
        self._fill()

    async def start(self, work: Callable[[], Awaitable[T]]) -> T:
        """Start work that takes descriptors at its beginning, before it waits for anything. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _PATIENCE
        while True:
            try:
                return await work()
            except OSError as error:
                if lack(error) is None or loop.time() > give_up:
                    raise
            if self._held:
                self.close()
            else:
                await asyncio.sleep(_PAUSE)

    def refill(self) -> None:
        """Refill the reserve, as far as there are free descriptors."""
        with contextlib.suppress(OSError):
            self._fill()

    def close(self) -> None:
        while self._held:
            os.close(self._held.pop())

    def _fill(self) -> None:
        while len(self._held) < self._size:
            self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


__all__ = ["DISK_FULL", "Reserve", "lack", "lack_in", "telling"]
