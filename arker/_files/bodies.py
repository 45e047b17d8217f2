"""Request bodies made from a range of a source: a thread reads ahead and computes the digest."""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from typing import TYPE_CHECKING, Protocol

from arker._files.hashing import Hashing
from arker._files.ranges import MIB, Span
from arker._files.sources import Buffer, Source
from arker._tasks.cleanup import retrieve
from arker._tasks.threads import begin_in_thread

if TYPE_CHECKING:
    from arker._files.job import Tell


class Digest(Protocol):
    """A `hashlib` object."""

    def update(self, data: Buffer, /) -> object: ...

    def hexdigest(self) -> str: ...


class Body:
    """A range of a source that can be sent repeatedly.

    Attributes:
        size: Its bytes.
        failure: Why it could not be read, if so: the connection that asks for pieces would not pass it on.
    """

    def __init__(self, source: Source, span: Span, tell: Tell, *, checksum: bool = True) -> None:
        """Make a body.

        Args:
            source: The source of the bytes.
            span: The range to send.
            tell: Called with the number of bytes that the connection has taken.
            checksum: Whether to compute its digest.
        """
        self._source = source
        self._checksum = checksum
        self._start, self._end = span
        self._tell = tell
        self.size = self._end - self._start
        self.failure: Exception | None = None
        self._pieces: _Pieces | None = None
        self._hashing: Hashing | None = None

    def __call__(self) -> _Pieces:
        """Return the pieces, from the first. Called once for each attempt."""
        self.failure = None
        self.begin()
        self._pieces = _Pieces(self, self._source, self._start, self._end, self._tell, checksum=self._checksum)
        return self._pieces

    def begin(self) -> None:
        """Begin to compute the digest if the bytes are in memory: in a thread, while they are being sent.

        Begin before the connection has anything to do. A thread that starts in the middle of the sending often gets the
        server's core, if that is on the same machine, and stays there.
        """
        if self._checksum and self._source.in_memory and self._hashing is None:
            self._hashing = Hashing(self._source.read(self._start, self._end))

    async def digest(self) -> str | None:
        """Return the SHA-256 of the bytes sent, in lower-case hex; None if it is not computed."""
        if not self._checksum:
            return None
        if self._hashing is not None:
            return await self._hashing.digest()
        return self._pieces.digest() if self._pieces is not None else digest_of(b"")

    @property
    def sent(self) -> bool:
        """Whether the last attempt has sent all of it."""
        return self.size == 0 or (self._pieces is not None and self._pieces.done)

    def arrived(self) -> None:
        """Report that the whole body has arrived."""
        self._tell(self.size)

    async def drop(self) -> None:
        """Release the body; it will not be sent again."""
        self._pieces = None  # which has the body
        if self._hashing is not None:
            await self._hashing.drop()


class _Pieces:
    """An iterator over the pieces. It is not a generator, because an abandoned generator would have to be closed."""

    def __init__(self, body: Body, source: Source, start: int, end: int, tell: Tell, *, checksum: bool) -> None:
        self._body = body
        self._source = source
        self._start = self._at = start
        self._end = end
        self._tell = tell
        self._hash: Digest | None = None
        self._checksum = checksum
        self._ahead: asyncio.Future[Buffer] | None = None

    @property
    def done(self) -> bool:
        """Whether the last piece was requested. The reply may arrive before the iterator is asked for another piece."""
        return self._at == self._end

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> Buffer:
        if self.done:
            raise StopAsyncIteration
        self._tell(self._at - self._start)
        if self._source.in_memory:
            until = min(self._at + MIB, self._end)
            piece = self._source.read(self._at, until)
        else:
            reading, self._ahead = self._ahead if self._ahead is not None else self._read(self._at), None
            try:
                piece = await reading
            except Exception as error:
                self._body.failure = error
                raise
            finally:
                del reading  # it keeps what it failed with, whose traceback has this frame
            until = self._at + len(piece)
            self._ahead = self._read(until) if until < self._end else None
        self._at = until
        return piece

    def _read(self, start: int) -> asyncio.Future[Buffer]:
        future = begin_in_thread(partial(self._read_and_hash, start, min(start + MIB, self._end)))
        future.add_done_callback(retrieve)
        return future

    def _read_and_hash(self, start: int, end: int) -> Buffer:
        piece = self._source.read(start, end)
        if self._checksum:
            if self._hash is None:
                self._hash = hashlib.sha256()
            self._hash.update(piece)
        return piece

    def digest(self) -> str:
        if self._hash is None:
            return digest_of(b"")
        return self._hash.hexdigest()


def digest_of(data: Buffer) -> str:
    """Return the SHA-256 in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def digest_of_source(source: Source) -> str:
    """Return the SHA-256 of a whole source in lower-case hex; blocks."""
    digest = hashlib.sha256()
    for start in range(0, source.size, MIB):
        digest.update(source.read(start, min(start + MIB, source.size)))
    return digest.hexdigest()


__all__ = ["Body", "digest_of", "digest_of_source"]
