"""`AsyncItems`: what comes one by one, from lists of the server or from work that goes on."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from arker._basics.guidance import instead, no_end, no_plain_block, no_plain_loop
from arker._basics.lazy import later
from arker._basics.pickling import refuse_to_be_pickled
from arker._basics.typing import Self

if TYPE_CHECKING:
    import asyncio

    import anyio
else:
    # The client's lists load this file, before anything is sent.
    asyncio, anyio = later("asyncio"), later("anyio")

T_co = TypeVar("T_co", covariant=True)


class AsyncItems(AsyncIterator[T_co], Generic[T_co]):
    """An iterator that can be closed: over a fleet's outcomes, a run's output, a list's items, a directory's entries.

        async with fleet.map(evaluate, programs) as outcomes:
            async for outcome in outcomes:
                if outcome.ok:
                    break

    ``async with`` closes it at the end of the block, and so does `contextlib.aclosing`. Without a block, `aclose` does.
    One that is used up needs no closing.
    """

    __reduce__ = refuse_to_be_pickled
    if not TYPE_CHECKING:
        __getattr__ = instead
        __enter__ = no_plain_block
        __exit__ = no_end
        __iter__ = no_plain_loop

    def __aiter__(self) -> Self:
        return self

    @abstractmethod
    async def __anext__(self) -> T_co: ...

    def _at_hand(self) -> list[Any]:
        """Take the items that come next without any waiting, as far as the caller's doings do not decide about them.

        The blocking twin asks for them: its way to the event loop and back takes far longer than an item does.
        """
        return []

    @abstractmethod
    async def aclose(self) -> None:
        """Close the iterator early: its work is ended, and no more items follow.

        Another task that waits for the next item gets none: its iteration ends.
        """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class SteppedItems(AsyncItems[T_co]):
    """Items of which each step fetches some, for one caller at a time.

    It is not a generator, so that an abandoned one leaves nothing behind, and one that has raised can be asked for the
    next item again.
    """

    def __init__(self) -> None:
        self._found: deque[Any] = deque()
        self._over = self._busy = self._closed = False
        self._scope: anyio.CancelScope | None = None
        self._idle: asyncio.Event | None = None

    async def __anext__(self) -> T_co:
        if self._busy:
            # Two concurrent steps would return the same items twice.
            raise RuntimeError("the next item is being asked for by another caller")
        self._busy = True
        try:
            while not self._found:
                if self._over or self._closed:
                    raise StopAsyncIteration
                # No scope around all steps: each may be one of a task of its own.
                with anyio.CancelScope() as self._scope:
                    await self._step()
            if self._closed:
                raise StopAsyncIteration
            return self._take()
        finally:
            self._busy, self._scope = False, None
            if self._idle is not None:
                self._idle.set()

    @abstractmethod
    async def _step(self) -> None:
        """Find some items, or note that there are no more."""

    def _take(self) -> T_co:
        """Return the first of the items that were found."""
        item: T_co = self._found.popleft()
        return item

    async def aclose(self) -> None:
        self._closed = True
        self._found.clear()
        if self._scope is not None:
            self._scope.cancel()
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()
        self._release()

    def _release(self) -> None:
        """Let go of what the steps have left, after the last one."""


__all__ = ["AsyncItems"]
