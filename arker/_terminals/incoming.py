"""The output of a terminal that has arrived and was not read yet."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from arker._tasks.running_loop import running_loop
from arker.errors import ArkerError
from arker.reports import Replayed

ROOM: Final = 1024 * 1024
"""Bytes that may be waiting for a reader; with more, no more is received, and the program in the VM waits."""


_ROOM_AT_END: Final = 16 * ROOM
"""The same after a kill: what was on its way has to be received before the end is."""


class Incoming:
    """A bounded queue of output, with an end."""

    def __init__(self) -> None:
        self._pieces: deque[bytes | Replayed] = deque()
        self._size = 0
        self._room = ROOM
        self._waiting: set[asyncio.Future[None]] = set()
        self.over = False
        self.error: ArkerError | None = None
        """Why the output ended before the program; None while it goes on, or when the program has ended."""

    async def put(self, piece: bytes | Replayed) -> None:
        """Add a piece, and wait until there is room for another one."""
        if isinstance(piece, Replayed) and self._pieces and isinstance(self._pieces[-1], Replayed):
            self._pieces.pop()  # nothing came in between; markers take no room, so they must not become many
        self._pieces.append(piece)
        self._size += len(piece) if isinstance(piece, bytes) else 0
        self.notify()
        while self._size > self._room and not self.over:
            await self.change()

    def expect_end(self) -> None:
        """Make room for the last output, so that the end arrives also if it is not read."""
        self._room = _ROOM_AT_END
        self.notify()

    def end(self, error: ArkerError | None) -> None:
        """End the output. Only the first end counts."""
        if not self.over:
            self.over, self.error = True, error
        self.notify()

    def notify(self) -> None:
        """Wake everything that waits for a change."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def change(self) -> None:
        """Wait for the next change."""
        waiting: asyncio.Future[None] = running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)

    async def next(self, most: int | None = None) -> bytes | Replayed | None:
        """Return the next piece, of so many bytes at most; None at the end. Raises the error of an early end."""
        while not self._pieces:
            if self.error is not None:
                raise self.error.with_traceback(None)  # else it would grow with each call
            if self.over:
                return None
            await self.change()
        piece = self._pieces.popleft()
        if isinstance(piece, Replayed):
            return piece
        if most is not None and len(piece) > most:
            self._pieces.appendleft(piece[most:])
            piece = piece[:most]
        full = self._size > self._room
        self._size -= len(piece)
        if full and self._size <= self._room:
            self.notify()
        return piece


__all__ = ["ROOM", "Incoming"]
