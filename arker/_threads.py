"""Work that blocks, in a thread: a caller that is cancelled has it stopped, and goes on when it has stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from arker._cleanup import carry_through

T = TypeVar("T")


class StoppedError(Exception):
    """Raised inside of the work, to end it."""


async def stoppable(work: Callable[[Callable[[], None]], T]) -> T:
    """What work that blocks returns, done in a thread.

    Args:
        work: Given a function to call often, at least every few milliseconds of work, which raises when it is to end.
    """
    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise StoppedError

    future = asyncio.get_running_loop().run_in_executor(None, work, check)
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


__all__ = ["StoppedError", "stoppable"]
