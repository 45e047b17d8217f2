"""Threads that run a caller's functions on behalf of the loop, and what they call in turn."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arker_sync._bridge import Call

_local = threading.local()


class Worker:
    """A function that runs in a thread for a task of the loop. With the task, the function's calls are cancelled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call[Any]] = []
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether the task that waits for the function was cancelled."""
        return self._cancelled

    def begin(self, call: Call[Any]) -> None:
        """The function makes a call."""
        with self._lock:
            self._calls.append(call)
            cancelled = self._cancelled
        if cancelled:
            call.cancel()

    def end(self, call: Call[Any]) -> None:
        with self._lock:
            self._calls.remove(call)

    def cancel(self) -> None:
        """The task that waits for the function is cancelled."""
        with self._lock:
            self._cancelled = True
            calls = tuple(self._calls)
        for call in calls:
            call.cancel()


def current_worker() -> Worker | None:
    """What the running thread works for, if it is one of these."""
    return getattr(_local, "worker", None)


__all__ = ["Worker", "current_worker"]
