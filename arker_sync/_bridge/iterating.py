"""The base of blocking iterators: each step waits for the next item of an async one."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from arker._basics.lazy import later
from arker._tasks.cleanup import end, retrieve
from arker.errors import ConfigurationError
from arker.items import AsyncItems
from arker_sync._bridge.call import Seat
from arker_sync._bridge.facade import Facade
from arker_sync._bridge.worker import current_worker

if TYPE_CHECKING:
    from arker_sync._bridge import lease as leases
else:
    leases = later("arker_sync._bridge.lease")  # which this file need not load

T_co = TypeVar("T_co", covariant=True)


class BlockingIterator(Facade, Iterator[T_co], Generic[T_co]):
    """An iterator over an async one. If it is not exhausted, it is closed by `_close`, or when it is garbage."""

    def __init__(
        self,
        asynchronous: AsyncIterator[Any],
        lease: leases.Lease | None = None,
        wrap: Callable[[Any], T_co] | None = None,
        seat: Seat | None = None,
    ) -> None:
        """Make an iterator.

        Args:
            asynchronous: The async iterator.
            lease: The client's share in the loop.
            wrap: Turns an item into the caller's version of it; None if that is the item itself.
            seat: The place of the caller that the async iterator was made for, by `seated`.
        """
        super().__init__(asynchronous, lease)
        self._wrap = wrap
        self._turn = threading.Lock()  # several threads may share it
        self._stepper: int | None = None
        self._seat = Seat() if seat is None else seat
        self._over = False
        self._ready: deque[Any] = deque()
        self._mark = threading.Lock()
        # These three are the loop's own.
        self._task: asyncio.Task[Any] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._ended = False

    __repr__ = object.__repr__  # the async one is of a private class

    def _next(self) -> T_co:
        thread = threading.get_ident()
        if self._stepper == thread:
            raise ConfigurationError(
                "an iterator is asked for an item while this thread waits for its next one (in a callback, perhaps); "
                "it would wait for itself"
            )
        with self._turn:
            if self._over:
                raise StopIteration
            if self._ready:
                return self._wrapped(self._ready.popleft())
            self._stepper = thread
            try:
                # After an error the iterator goes on or not, as the async one does.
                found = self._lease.call(self._step(), seat=self._seat)
            finally:
                self._stepper = None
            if not isinstance(found, tuple):
                try:
                    raise found
                finally:
                    del found  # its traceback has this frame
            if not found:
                self._over = True
                raise StopIteration
            self._ready.extend(found[1:])
            return self._wrapped(found[0])

    def _wrapped(self, item: Any) -> T_co:
        return item if self._wrap is None else self._wrap(item)

    def _close(self) -> None:
        """Close the iterator, maybe amid a step: a callback may do so, and a function that works for it."""
        with self._mark:
            over, self._over = self._over, True
        if over:
            return
        if self._lease.called_by_loop():  # the garbage collector destroys a generator that would close it
            self._lease.begin(self._end())
            return
        if current_worker() is None:
            self._lease.call(self._end())
            return
        # The work may be what this function does: then its calls are cancelled, if they have not been already.
        self._lease.begin(self._end_beside())
        self._lease.call(self._end_of_work())

    async def _step(self) -> tuple[Any, ...] | BaseException:
        """Return the next items; or what ends the program: raised here, that would end the loop of all clients."""
        if self._ended:
            return ()
        self._task = asyncio.current_task()
        try:
            item = await self._async.__anext__()
            # Each way to this thread and back takes far longer than an item does.
            if isinstance(self._async, AsyncItems):
                return (item, *self._async._at_hand())  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]
            return (item,)
        except StopAsyncIteration:
            return ()
        except asyncio.CancelledError:
            if self._ended:
                return ()
            raise
        except (SystemExit, KeyboardInterrupt) as error:
            return error
        finally:
            self._task = None

    async def _end(self) -> None:
        self._ended = True
        if self._task is not None:
            await end(self._task)  # an async generator cannot be closed amid a step
        close = getattr(self._async, "aclose", None)
        if close is not None:
            await close()

    async def _end_beside(self) -> None:
        self._ending = asyncio.ensure_future(self._end())
        self._ending.add_done_callback(retrieve)

    async def _end_of_work(self) -> None:
        if self._ending is not None:  # else the client was closed before
            await asyncio.shield(self._ending)

    def __del__(self) -> None:
        if not self.__dict__.get("_over", True):
            close = getattr(self._async, "aclose", None)
            if close is not None:
                self._lease.begin(close())


__all__ = ["BlockingIterator"]
