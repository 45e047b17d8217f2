"""Threads that run a caller's functions for the loop, and the calls that those functions make."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread

from arker._tasks.cleanup import CLEANUP_SECONDS, carry_through
from arker.errors import InvalidArgumentError
from arker.models._checks import check_function_of_item
from arker_sync._bridge.worker import Worker

if TYPE_CHECKING:
    from arker_sync._bridge.facade import Facade
    from arker_sync._bridge.lease import Lease

MAX_THREADS: Final = 256
"""How many functions may run at once in a process; more wait for their turn."""

_limiters: dict[asyncio.AbstractEventLoop, anyio.CapacityLimiter] = {}


def in_threads(function: Any, handle: type[Facade], lease: Lease) -> Any:
    """Return the async client's version of a caller's function that works on a handle.

    Each call of it runs in a thread of a pool, `MAX_THREADS` at once. When the task that waits for it is cancelled, the
    call that the function then makes, or its next one, raises `asyncio.CancelledError` in its thread.

    Args:
        function: Takes a blocking handle and another argument. The client refuses a value that is not a function.
        handle: The class of the handle.
        lease: The client's share in the loop.

    Raises:
        InvalidArgumentError: It does not take two arguments, or is a coroutine function, which no thread would run.
    """
    if not callable(function):
        return function
    check_function_of_item(function)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise _no_ordinary(function)
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
    result = done.result()()
    if isinstance(result, Coroutine):
        result.close()  # it is not awaited, and Python would warn of that
        raise _no_ordinary(function)
    return result


def _no_ordinary(function: object) -> InvalidArgumentError:
    expected = "expected an ordinary function: it runs in a thread; `AsyncFleet.map` takes coroutine functions"
    return InvalidArgumentError("function", function, expected)


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


__all__ = ["MAX_THREADS", "in_threads"]
