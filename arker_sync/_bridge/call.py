"""Single calls into the loop.

A call makes a task there and waits for the task itself, so that an interrupted caller can cancel it and wait for its
clean-up.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

from arker._basics.guidance import CLOSED
from arker._tasks import clock, hurry
from arker._tasks.cleanup import CLEANUP_SECONDS
from arker.errors import ConfigurationError
from arker_sync._bridge.loop import Running, generation, take

T = TypeVar("T")

_STEP: Final = 0.02
"""Seconds between two checks of whether an interrupted caller's call has ended."""


class Errand:
    """Work that a call has for its caller's thread, which waits anyway."""

    __slots__ = ("_do", "_refuse")

    def __init__(self, do: Callable[[], object], refuse: Callable[[], object] | None = None) -> None:
        """Make an errand.

        Args:
            do: The work; must not raise an `Exception`.
            refuse: Called instead when the caller has been interrupted.
        """
        self._do = do
        self._refuse = refuse

    def do(self) -> None:
        self._do()

    def refuse(self) -> None:
        if self._refuse is not None:
            self._refuse()


class Seat:
    """The place of a caller during one call, or successive ones for the same work, such as the steps of an iterator.

    Errands of the work go to the step that is being waited for, even if an earlier step began them. Its methods are
    for the loop's thread.

    Attributes:
        call: Returns the call, unless its caller has gone. The call has its task, and the task its seat: it is a weak
            reference, lest every result stay in memory until garbage is collected.
    """

    __slots__ = ("_left", "call")

    def __init__(self, *, lasting: bool = False) -> None:
        """Make a seat.

        Args:
            lasting: Whether further calls may follow, which do what no earlier one has done.
        """
        self.call: Callable[[], Call[Any] | None] = _nothing
        self._left: list[Errand] | None = [] if lasting else None

    def take(self, call: Call[Any]) -> None:
        """Give the seat to a call, with the errands that were left for it."""
        self.call = weakref.ref(call)
        if self._left:
            for errand in self._left:
                call.post(errand)
            self._left.clear()

    def give(self, errand: Errand) -> bool:
        """Run something in the caller's thread, in a later call if it does not wait. Return False if there is none."""
        call = self.call()
        if call is not None and call.post(errand):
            return True
        if self._left is None:
            return False
        self._left.append(errand)
        return True


def _nothing() -> None:
    return None


_current: ContextVar[Seat | None] = ContextVar("arker_sync_call", default=None)


def current_call() -> Call[Any] | None:
    """Return the call that the running task belongs to, if its caller still waits."""
    seat = _current.get()
    return None if seat is None else seat.call()


def current_seat() -> Seat | None:
    """Return the place of the caller that the running task works for."""
    return _current.get()


@contextmanager
def seated() -> Generator[Seat, None, None]:
    """Make the place of a caller who will take one step after the other. What is made in the block works for it."""
    seat = Seat(lasting=True)
    before = _current.set(seat)
    try:
        yield seat
    finally:
        _current.reset(before)


class Call(Generic[T]):
    """A call into the loop. Its caller waits in `wait`, and meanwhile runs the errands that come from the loop."""

    __slots__ = (
        "__weakref__",
        "_abandoned",
        "_inbox",
        "_interrupted",
        "_lock",
        "_over",
        "_running",
        "_seat",
        "_task",
        "_work",
    )

    def __init__(self, work: Coroutine[Any, Any, T], running: Running, seat: Seat | None = None) -> None:
        self._work = work
        self._seat = Seat() if seat is None else seat
        self._running = running
        self._task: asyncio.Task[T] | None = None
        self._inbox: SimpleQueue[asyncio.Task[T] | Errand | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._over = False
        self._abandoned = False
        self._interrupted = False

    @property
    def task(self) -> asyncio.Task[T] | None:
        """The work's task, once it has begun."""
        return self._task

    def start(self) -> None:
        """Start the work in the loop, with the caller's context variables."""
        try:
            self._running.loop.call_soon_threadsafe(self._begin)
        except RuntimeError:  # the loop was closed
            self._work.close()
            raise closed() from None

    def start_alone(self) -> None:
        """Start the work in the loop for no caller: its errands go elsewhere."""
        self._over = True
        self.start()

    def _begin(self) -> None:
        if self._abandoned:
            return
        self._seat.take(self)
        _current.set(self._seat)
        task = self._task = self._running.loop.create_task(self._work)
        task.add_done_callback(self._inbox.put)
        if self._interrupted:
            self._interrupt()

    def wait(self) -> None:
        """Wait until the work has ended."""
        while isinstance(item := take(self._inbox), Errand):
            item.do()
            if self._running.generation is not generation():
                raise ConfigurationError("this process was forked in the middle of a call, which goes on in its parent")
        item = None  # the task: see `let_go`
        with self._lock:
            self._over = True
        # An errand may have come meanwhile, from a task that outlives the call.
        while not self._inbox.empty():
            item = self._inbox.get()
            if isinstance(item, Errand):
                item.do()

    def result(self) -> T:
        """Return the work's result, or raise its error."""
        if self._task is None:
            raise asyncio.CancelledError
        return self._task.result()

    def let_go(self) -> None:
        """Forget the task if it has ended. It keeps what it failed with, whose traceback leads to this object."""
        if self._task is not None and self._task.done():
            self._task = None

    def ended_with(self, error: BaseException) -> bool:
        """Return whether the work itself ended with an exception."""
        task = self._task
        if task is None or not task.done():
            return isinstance(error, asyncio.CancelledError) and task is None
        if task.cancelled():
            return isinstance(error, asyncio.CancelledError)
        return task.exception() is error

    def post(self, errand: Errand) -> bool:
        """Run something in the caller's thread, from the loop. Return False when the caller no longer waits."""
        with self._lock:
            if not self._over:
                self._inbox.put(errand)
            return not self._over

    def cancel(self) -> None:
        """Cancel the work, from any thread. Its waiters go on when it has ended."""
        try:
            self._running.loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:  # the loop was closed, and so nothing goes on there
            self._inbox.put(None)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif not self._abandoned:
            self._abandoned = True
            self._work.close()
            self._inbox.put(None)

    def interrupt(self) -> None:
        """Cancel the work at its next await, from any thread, as a task of asyncio is cancelled: it begins in any case.

        What leaves a block, or deletes something, so gets to where it no longer minds.
        """
        try:
            self._running.loop.call_soon_threadsafe(self._interrupt)
        except RuntimeError:  # the loop was closed, and so nothing goes on there
            self._inbox.put(None)

    def _interrupt(self) -> None:
        self._interrupted = True
        if self._task is not None:
            # The task's first step, if it is still to come, comes before that.
            self._running.loop.call_soon(self._task.cancel)

    def mute(self) -> None:
        """Stop waking the caller: the interpreter is ending, and the caller's thread must not raise before that."""
        try:
            self._running.loop.call_soon_threadsafe(self._mute)
        except RuntimeError:  # the loop was closed
            pass

    def _mute(self) -> None:
        if self._task is not None:
            self._task.remove_done_callback(self._inbox.put)
        with self._lock:
            self._over = True

    def abandon(self) -> bool:
        """Cancel the work because its caller goes, and wait for its clean-up, `CLEANUP_SECONDS` at most.

        Returns:
            Whether the work was done before it could be cancelled, so that its result is lost.
        """
        if self._running.generation is not generation():
            return False
        self.cancel()
        until = clock.now() + CLEANUP_SECONDS
        # What tells the end may have been taken out of the inbox by the very step that was interrupted.
        while not self._has_ended():
            if hurry.asked():  # the clean-up itself ends in time, and what it has not removed is named
                until = min(until, clock.now() + hurry.bound(CLEANUP_SECONDS) + hurry.GRACE)
            try:
                item = self._inbox.get(timeout=min(_STEP, max(until - clock.now(), 0.0)))
            except Empty:
                if clock.now() >= until:
                    return False
                continue
            if isinstance(item, Errand):
                item.refuse()
            elif item is None:
                break
        with self._lock:
            self._over = True
        task = self._task
        return task is not None and task.done() and not task.cancelled() and task.exception() is None

    def _has_ended(self) -> bool:
        return self._task.done() if self._task is not None else self._abandoned


def closed() -> ConfigurationError:
    """Return the error of a call that begins or ends after its client was closed."""
    return ConfigurationError(CLOSED)


__all__ = ["Call", "Errand", "Seat", "closed", "current_call", "current_seat", "seated"]
