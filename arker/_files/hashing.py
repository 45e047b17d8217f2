"""The digest of bytes in memory, computed in a thread while they are sent."""

from __future__ import annotations

import asyncio
import hashlib
import weakref
from typing import Final

from arker._files.ranges import MIB
from arker._files.sources import Buffer
from arker._tasks.cleanup import carry_through, retrieve
from arker._tasks.threads import StoppedError, begin_in_thread

_STEP: Final = 8 * MIB
"""Bytes that the thread hashes before it looks whether their digest is still wanted: some milliseconds of work."""


class Hashing:
    """The SHA-256 of bytes in memory, which a thread computes from now on.

    Attributes:
        alone: Whether no other digest was being computed when this one was begun.
        begun: Whether the thread has begun. None does for as long as all threads of the loop are busy.
    """

    def __init__(self, data: Buffer) -> None:
        self._data = data
        self.alone = not _unfinished
        self.begun = False
        self._dropped = False
        _unfinished.add(self)
        self._future = begin_in_thread(self._hash)
        self._future.add_done_callback(self._end)

    def _hash(self) -> str | None:
        self.begun = True
        data = self._data
        digest = hashlib.sha256()
        for start in range(0, len(data), _STEP):
            if self._dropped:
                break
            digest.update(data[start : start + _STEP])
        # An exception would hold the data for as long as the future is there.
        return None if self._dropped else digest.hexdigest()

    def _end(self, future: asyncio.Future[str | None]) -> None:
        _unfinished.discard(self)
        retrieve(future)

    async def digest(self) -> str:
        """Return the digest in lower-case hex. It may be awaited repeatedly, and a cancelled caller does not end it.

        Raises:
            StoppedError: The bytes were released before the digest was computed: a request that goes on without its
                caller must not be sent with another one.
        """
        if not self._future.done():
            await asyncio.wait({self._future})
        digest = None if self._future.cancelled() else self._future.result()
        if digest is None:
            raise StoppedError
        return digest

    async def drop(self) -> None:
        """Release the bytes. If the digest is still being computed, that ends within milliseconds, and is awaited."""
        self._dropped = True
        self._data = b""
        # A thread that begins from now on finds nothing.
        if self.begun and not self._future.done():
            await carry_through(asyncio.wait({self._future}))
        else:
            self._future.cancel()


_unfinished: Final[weakref.WeakSet[Hashing]] = weakref.WeakSet()


__all__ = ["Hashing"]
