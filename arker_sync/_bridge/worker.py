"""A function of the caller's that runs in a thread for a task of the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from arker_sync._bridge.outcomes import Failure, same

if TYPE_CHECKING:
    from arker_sync._bridge.call import Call

_local = threading.local()


class Worker:
    """A function that runs in a thread for a task of the loop.

    If the task is cancelled, so is what the function calls then, or else its next call: once, as with a coroutine, so
    that its blocks and ``finally`` clauses can do what they have to.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call[Any]] = []
        self._interrupted: list[Call[Any]] = []
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether the task that waits for the function was cancelled, and no call has raised that yet."""
        return self._cancelled

    def begin(self, call: Call[Any]) -> None:
        """Note that the function makes a call."""
        with self._lock:
            self._calls.append(call)
            if self._cancelled:
                self._interrupt(call)

    def _interrupt(self, call: Call[Any]) -> None:
        self._interrupted.append(call)
        call.interrupt()

    def has_raised(self, call: Call[Any]) -> bool:
        """Note that a call raises `asyncio.CancelledError`. Return whether it is because of this function's task."""
        with self._lock:
            if call not in self._interrupted:
                return False
            self._cancelled = False
            return True

    def end(self, call: Call[Any]) -> None:
        """Note that the call has ended, if that was not noted before."""
        with self._lock:
            if call in self._calls:
                self._calls.remove(call)

    def do(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Run the function in this thread. Return a function that returns its result or raises its error.

        (Its error may be a `StopIteration` or a `CancelledError`, which have another meaning in the loop, or a
        `SystemExit`, which would end the loop.)
        """
        before = current_worker()
        _local.worker = self
        try:
            return partial(same, function())
        except BaseException as error:
            return Failure(error)
        finally:
            _local.worker = before

    def cancel(self) -> None:
        """Cancel the function's calls, because the task that waits for it is cancelled."""
        with self._lock:
            self._cancelled = True
            for call in self._calls:
                self._interrupt(call)


def current_worker() -> Worker | None:
    """Return the worker of the running thread, if it has one."""
    return getattr(_local, "worker", None)


__all__ = ["Worker", "current_worker"]
