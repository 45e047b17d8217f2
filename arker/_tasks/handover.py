"""Results that a task hands to another one, which goes on within the same step of the loop."""

from __future__ import annotations

import asyncio
from asyncio import tasks
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """What one task makes and one other task waits for, which goes on as soon as it is there.

    By a future it would go on in a later turn of the loop. Hundreds of results that arrive at once would then first all
    be made, with all that is left of their making released, before the first of their waiters begins its next request:
    the garbage collector counts what is made without what was released, and runs far more often. So the waiter's next
    step is run within the maker's last one, by the functions that asyncio documents for tasks of other kinds.

    It is awaited once, and by a task: for that it has the methods of a future that asyncio calls.

    Attributes:
        given: Whether the result is here.
        value: The result, if it is.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_callback",
        "_cancelled",
        "_context",
        "_loop",
        "_make",
        "_over",
        "given",
        "value",
    )

    value: T

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._callback: Callable[[Any], object] | None = None
        self._context: Context | None = None
        self._cancelled: tuple[object, ...] | None = None
        self._make: Coroutine[Any, Any, T] | None = None
        self._over = False
        self.given = False

    # --- the maker --------------------------------------------------------------------------------------------------

    def start(self, make: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start the task that makes the result. If it fails, the wait ends without a result."""
        self._make = make
        task = self._loop.create_task(self._hand_over(make))
        task.add_done_callback(self._end)
        return task

    async def _hand_over(self, make: Coroutine[Any, Any, T]) -> T:
        self._make = None
        value = await make
        maker = asyncio.current_task()
        if maker is None or self._over:
            return value
        maker.remove_done_callback(self._end)
        self.value, self.given, self._over = value, True, True
        callback, context = self._taken()
        if callback is None or context is None:
            return value  # the other task has not come to wait yet
        # By their names, since what nests event loops replaces them.
        tasks._leave_task(self._loop, maker)  # pyright: ignore[reportPrivateUsage]
        try:
            context.run(callback, self)
        except (KeyboardInterrupt, SystemExit) as error:
            self._loop.call_soon(_raise, error)  # it is the waiter's, and ends the loop
        finally:
            tasks._enter_task(self._loop, maker)  # pyright: ignore[reportPrivateUsage]
        return value

    def _end(self, _: asyncio.Task[T]) -> None:
        if self._make is not None:
            self._make.close()  # the task was cancelled before its first step
        if not self._over:
            self._over = True
            callback, context = self._taken()
            if callback is not None:
                self._loop.call_soon(callback, self, context=context)

    def _taken(self) -> tuple[Callable[[Any], object] | None, Context | None]:
        taken = self._callback, self._context
        self._callback = self._context = None
        return taken

    # --- the waiter, by its task ------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, None]:
        if not self._over:
            self._asyncio_future_blocking = True
            yield self
        self.result()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of both tasks."""
        return self._loop

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Set what is called with this object when the wait is over."""
        self._callback, self._context = callback, context

    def cancel(self, msg: object = None) -> bool:
        """End the wait because the waiter is cancelled; the maker goes on."""
        if self._over:
            return False
        self._over, self._cancelled = True, () if msg is None else (msg,)
        callback, context = self._taken()
        if callback is not None:
            self._loop.call_soon(callback, self, context=context)
        return True

    def done(self) -> bool:
        """Return whether the wait is over."""
        return self._over

    def result(self) -> None:
        """Raise `asyncio.CancelledError` if the waiter was cancelled."""
        if self._cancelled is not None:
            raise asyncio.CancelledError(*self._cancelled)


def _raise(error: BaseException) -> None:
    raise error


__all__ = ["Handover"]
