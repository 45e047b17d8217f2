"""Work that blocks, in a thread: a caller that is cancelled has it stopped, and goes on when it has stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from arker._tasks.cleanup import carry_through
from arker._tasks.running_loop import running_loop

T = TypeVar("T")


class StoppedError(Exception):
    """Raised inside of the work, to end it."""


def begin_in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Have work that blocks done in a thread of the loop's.

    (Those of anyio end with the task that the loop was started for. Where a library has replaced the running of loops,
    as `nest_asyncio` does, there is none, and the interpreter would wait for them at its end.)

    Where no thread can be started any more, since the interpreter is ending, it is done at once, by the loop itself.
    """
    loop = running_loop()
    try:
        return loop.run_in_executor(None, work)
    except RuntimeError:
        done: asyncio.Future[T] = loop.create_future()
        try:
            done.set_result(work())
        except Exception as error:
            done.set_exception(error)
        return done


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """The result of something that may block. A caller that is cancelled does not wait for it."""
    return await begin_in_thread(partial(work, *arguments))


async def finished_in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """The same of something that must not be left half done, and does not take long."""
    return await carry_through(in_thread(work, *arguments))


async def stoppable(work: Callable[[Callable[[], None]], T]) -> T:
    """What work that blocks returns, done in a thread.

    Args:
        work: Given a function to call often, at least every few milliseconds of work, which raises when it is to end.
    """
    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise StoppedError

    future = begin_in_thread(partial(work, check))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stopped.set()
        await carry_through(_ended(future))
        raise


async def _ended(future: asyncio.Future[T]) -> None:
    await asyncio.wait({future})
    if not future.cancelled():
        future.exception()  # else the loop reports it as never retrieved


__all__ = ["StoppedError", "begin_in_thread", "finished_in_thread", "in_thread", "stoppable"]
