"""Threads that run a caller's functions for the loop, and the calls that those functions make."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread

from arker._tasks.cleanup import carry_through
from arker_sync._bridge.facade import fail, same
from arker_sync._bridge.loop import CLEANUP_SECONDS

if TYPE_CHECKING:
    from arker_sync._bridge.facade import Facade
    from arker_sync._bridge.lease import Lease
    from arker_sync._bridge.loop import Call

MAX_THREADS: Final = 256
"""How many functions may run at once in a process; more wait for their turn."""

_local = threading.local()
_limiters: dict[asyncio.AbstractEventLoop, anyio.CapacityLimiter] = {}


class Worker:
    """A function that runs in a thread for a task of the loop.

    If the task is cancelled, so are the function's calls.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call[Any]] = []
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether the task that waits for the function was cancelled."""
        return self._cancelled

    def begin(self, call: Call[Any]) -> None:
        """Note that the function makes a call."""
        with self._lock:
            self._calls.append(call)
            cancelled = self._cancelled
        if cancelled:
            call.cancel()

    def end(self, call: Call[Any]) -> None:
        with self._lock:
            self._calls.remove(call)

    def do(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Run the function in this thread. Return a function that returns its result or raises its error.

        (Its error may be a `StopIteration` or a `CancelledError`, which have another meaning in the loop.)
        """
        before = current_worker()
        _local.worker = self
        try:
            return partial(same, function())
        except Exception as error:
            return partial(fail, error)
        except asyncio.CancelledError as error:
            return partial(fail, error)
        finally:
            _local.worker = before

    def cancel(self) -> None:
        """Cancel the function's calls, because the task that waits for it is cancelled."""
        with self._lock:
            self._cancelled = True
            calls = tuple(self._calls)
        for call in calls:
            call.cancel()


def current_worker() -> Worker | None:
    """Return the worker of the running thread, if it has one."""
    return getattr(_local, "worker", None)


def in_threads(function: Any, handle: type[Facade], lease: Lease) -> Any:
    """Return the async client's version of a caller's function that works on a handle.

    Each call of it runs in a thread of a pool, `MAX_THREADS` at once. When the task that waits for it is cancelled, the
    calls that the function makes are, too: they raise `asyncio.CancelledError` in its thread.

    Args:
        function: Takes a blocking handle and another argument. The client refuses a value that is not a function.
        handle: The class of the handle.
        lease: The client's share in the loop.
    """
    if not callable(function):
        return function
    return partial(_carry_out, function, handle, lease)


async def _carry_out(function: Callable[..., Any], handle: type[Facade], lease: Lease, twin: Any, item: Any) -> Any:
    worker = Worker()
    context = copy_context()

    def work() -> Callable[[], Any]:
        return context.run(worker.do, partial(function, handle(twin, lease), item))

    carried = anyio.to_thread.run_sync(work, limiter=_limiter(), abandon_on_cancel=True)
    done: asyncio.Future[Callable[[], Any]] = asyncio.ensure_future(carried)
    try:
        await asyncio.wait({done})
    except asyncio.CancelledError:
        worker.cancel()
        await carry_through(_ended(done))
        raise
    return done.result()()


async def _ended(done: asyncio.Future[Any]) -> None:
    """Wait for a worker to end, within a bound. A function that waits for no call goes on in its thread unwatched."""
    await asyncio.wait({done}, timeout=CLEANUP_SECONDS)
    done.cancel()
    await asyncio.wait({done})
    if not done.cancelled():
        done.exception()


def _limiter() -> anyio.CapacityLimiter:
    loop = asyncio.get_running_loop()
    if loop not in _limiters:
        for ended in [other for other in _limiters if other.is_closed()]:
            del _limiters[ended]
        _limiters[loop] = anyio.CapacityLimiter(MAX_THREADS)
    return _limiters[loop]


__all__ = ["MAX_THREADS", "Worker", "current_worker", "in_threads"]
