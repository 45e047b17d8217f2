"""Bodies of requests in pieces, and the bound on the time in which they make no progress. Loaded with the HTTP side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio

from arker._protocol.request import Ending, ExchangeFailedError

if TYPE_CHECKING:
    from typing_extensions import Self

SLICE: Final = 1024 * 1024
"""Bodies above this size are handed to the connection in pieces of this size, which avoids a copy of the whole."""

Piece: TypeAlias = bytes | memoryview
Body: TypeAlias = Callable[[], AsyncIterator[Piece]]
_Watch: TypeAlias = "partial[_Watched]"


class BoundedProgress:
    """A limit on the seconds in which the connection takes nothing of a request's body; raises `ExchangeFailedError`.

    aiohttp limits the silence of the other side only after the body was sent. ``with`` gives a function that wraps the
    body.
    """

    __slots__ = ("_bound", "_scope")

    def __init__(self, idle: float | None) -> None:
        """Prepare a limit.

        Args:
            idle: Seconds for each piece; None for no limit.
        """
        self._bound = float("inf") if idle is None else idle
        self._scope = anyio.CancelScope()

    def __enter__(self) -> _Watch:
        # From the first piece on: until then the request waits for a connection, which has bounds of its own.
        self._scope.__enter__()
        return partial(_Watched, self._scope, self._bound)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scope.__exit__(kind, error, traceback)
        if self._scope.cancelled_caught:
            problem = f"the request made no progress for {self._bound:g} s"
            raise ExchangeFailedError(problem, delivered=True, timed_out=True)


# These are classes, not async generators: aiohttp drops an abandoned body without closing it, so that a
# generator would end in a task of its own, some time after the call, whenever garbage is collected.


class _Watched:
    """A body whose next piece extends a scope."""

    __slots__ = ("_bound", "_pieces", "_scope", "_wait_afterwards")

    def __init__(
        self, scope: anyio.CancelScope, bound: float, pieces: AsyncIterator[Piece], *, wait_afterwards: bool = False
    ) -> None:
        """Wrap a body.

        Args:
            scope: The scope that ends when there is no progress.
            bound: Seconds for each piece.
            pieces: The body.
            wait_afterwards: Lift the bound when the whole body was sent.
        """
        self._scope = scope
        self._bound = bound
        self._pieces = pieces
        self._wait_afterwards = wait_afterwards

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        # A piece is asked for when the connection has taken the one before it. How long it is in the making, by a slow
        # disk or as a digest, is no matter of the connection: another one would not get it sooner.
        self._scope.deadline = float("inf")
        try:
            piece = await self._pieces.__anext__()
        except StopAsyncIteration:
            if not self._wait_afterwards:
                self._scope.deadline = anyio.current_time() + self._bound
            raise
        self._scope.deadline = anyio.current_time() + self._bound
        return piece


class Slices:
    """A buffer in pieces, without copying it."""

    __slots__ = ("_ending", "_start", "_tell", "_view")

    def __init__(
        self,
        data: bytes | bytearray | memoryview[int],
        tell: Callable[[int], None] | None = None,
        ending: Ending | None = None,
    ) -> None:
        """Cut a buffer.

        Args:
            data: The buffer.
            tell: Called with the number of bytes that the connection has taken.
            ending: What follows the buffer, as the last piece.
        """
        self._view = memoryview(data)
        self._tell = tell
        self._ending = ending
        self._start = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        start = self._start
        ending = self._ending
        if start >= len(self._view) and ending is None:
            raise StopAsyncIteration
        if self._tell is not None:
            self._tell(min(start, len(self._view)))
        if start >= len(self._view) and ending is not None:
            self._ending = None
            try:
                return await ending.make()
            except Exception as error:
                ending.failure = error
                raise
        self._start = start + SLICE
        return self._view[start : self._start]


__all__ = ["SLICE", "Body", "BoundedProgress", "Piece", "Slices"]
