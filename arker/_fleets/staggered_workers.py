"""Worker tasks of a fleet that share a list of items: as many as are wanted, started one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from arker._tasks import clock
from arker._tasks.running_loop import running_loop
from arker._transport import window

AHEAD: Final = 2 * window.STEP
"""Workers beside those that may have a request in flight: as many as two of the largest steps by which the client's
window opens, so that requests are ready when it does."""
STEP: Final = 32
"""The least number of workers that begin together. As many forks are written to the ledger at once."""
PAUSE: Final = 0.02
"""Seconds after which more begin."""


class StaggeredWorkers:
    """Workers that run the same function until no items are left.

    Most of several hundred would only wait for the others' requests, and each costs memory and time. So as many begin
    at once as may have a request in flight, the others in quick succession, in step with the client's window. As soon
    as one finds no more items, no further workers begin.

    Attributes:
        over: A future that is done when all have ended, or as soon as one has failed.
        error: The error of the failed one.
        tasks: The workers that have begun and not ended.
    """

    def __init__(
        self,
        begin: Callable[[], asyncio.Task[Any]],
        size: int,
        *,
        places: Callable[[], int],
        unless: Callable[[], bool] | None = None,
        among: set[asyncio.Task[Any]] | None = None,
        ended: Callable[[], object] | None = None,
    ) -> None:
        """Prepare the workers; `start` starts them.

        Args:
            begin: Starts a worker.
            size: The number of workers.
            places: Returns the number of requests that may be in flight at the moment.
            unless: Returns whether no more workers may begin. Running workers go on.
            among: Has each worker from its beginning to its end.
            ended: Called when a worker has ended.
        """
        self._loop = running_loop()
        self._begin: Callable[[], asyncio.Task[Any]] | None = begin
        self._missing = size
        self._closed = False
        self._places = places
        self._unless = unless
        self._among: set[asyncio.Task[Any]] = among if among is not None else set()
        self._tell = ended
        self._timer: clock.Timer | None = None
        self.over: asyncio.Future[None] = self._loop.create_future()
        self.error: BaseException | None = None
        self.tasks: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Start the workers.

        Where tasks begin at once (`asyncio.eager_task_factory`), what they do may already close or cancel this object.
        """
        self._begin_some()
        if not self.tasks:
            self.over.set_result(None)

    def _begin_some(self) -> None:
        self._timer = None
        count = max(STEP, self._places() + AHEAD - len(self.tasks))
        if self._unless is not None and self._unless():
            self._missing = 0
        count = min(count, self._missing)
        self._missing -= count
        begin, ended = self._begin, self._ended
        for _ in range(count):
            if self._closed:
                break
            assert begin is not None  # as long as some are missing
            task = begin()
            self.tasks.add(task)
            self._among.add(task)
            # Use a callback: a task that is cancelled before its first step does nothing. There is just one, since each
            # takes the loop as long as a step of the task does.
            task.add_done_callback(ended)
        if self._missing:
            self._timer = clock.call_later(self._loop, PAUSE, self._begin_some)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.close()
        self.tasks.discard(task)
        self._among.discard(task)
        if self._tell is not None:
            self._tell()
        if not self.tasks:
            self._begin = self._unless = None  # they may lead to who has this object
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self.over.done():
            return
        self.error = error
        if error is not None or not self.tasks:
            self.over.set_result(None)

    def close(self) -> None:
        """Start no more workers."""
        self._closed, self._missing = True, 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def cancel(self) -> set[asyncio.Task[Any]]:
        """Start no more workers, and cancel and return those that have not ended."""
        self.close()
        going = set(self.tasks)
        for task in going:
            task.cancel()
        return going


__all__ = ["StaggeredWorkers"]
