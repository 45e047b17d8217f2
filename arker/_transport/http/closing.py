"""How sessions are closed: in their event loop, from another one, and when theirs was closed before them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import AsyncGenerator
from types import AsyncGeneratorType
from typing import Final

from arker._tasks import clock

logger = logging.getLogger("arker")

_CLOSE_SECONDS: Final = 5.0
"""Bound on the closing of a session that belongs to a loop in another thread."""
_STEPS: Final = 16
"""More than closing takes where there is nothing to wait for."""

_closing: Final[set[asyncio.Task[None]]] = set()


async def finish(guard: AsyncGenerator[None, None]) -> None:
    """Close a session by its guard, in its own loop."""
    if isinstance(guard, AsyncGeneratorType) and guard.ag_running:
        return  # the client is being closed in two loops at once, and the other one was the first here
    await guard.aclose()


def finish_soon(loop: asyncio.AbstractEventLoop, guard: AsyncGenerator[None, None]) -> None:
    """Begin to close a session by its guard, in its own loop."""
    closing = loop.create_task(finish(guard))
    _closing.add(closing)  # the loop would not keep it
    closing.add_done_callback(_closing.discard)


async def close_elsewhere(loop: asyncio.AbstractEventLoop, guard: AsyncGenerator[None, None]) -> None:
    """Close a session of a loop in another thread, or give up waiting for that loop."""
    closing = _hand_over(loop, guard)
    if closing is not None:
        # Waiting raises nothing of what becomes of the other loop, which may be blocked, or end meanwhile.
        await clock.wait({asyncio.wrap_future(closing)}, _CLOSE_SECONDS)
        _log_outcome(closing)


def close_elsewhere_blocking(loop: asyncio.AbstractEventLoop, guard: AsyncGenerator[None, None]) -> None:
    """Close such a session from a thread without a running event loop, likewise."""
    closing = _hand_over(loop, guard)
    if closing is not None:
        concurrent.futures.wait({closing}, timeout=_CLOSE_SECONDS)
        _log_outcome(closing)


def finish_without_loop(guard: AsyncGenerator[None, None]) -> None:
    """Close a session by its guard when its loop was closed without `shutdown_asyncgens`, as loops made by hand are.

    Nothing of a closed loop is waited for. A session that is not closed is reported by aiohttp on standard error.
    """
    closing = guard.aclose()
    try:
        for _ in range(_STEPS):
            closing.send(None)
    except (StopIteration, RuntimeError):  # the latter of what the closed loop was to do for it
        pass
    finally:
        closing.close()


def _hand_over(
    loop: asyncio.AbstractEventLoop, guard: AsyncGenerator[None, None]
) -> concurrent.futures.Future[None] | None:
    """Have a loop in another thread close its session; None if it has ended, and its session with it."""
    closing = finish(guard)
    try:
        return asyncio.run_coroutine_threadsafe(closing, loop)
    except RuntimeError:
        closing.close()
        return None


def _log_outcome(closing: concurrent.futures.Future[None]) -> None:
    if not closing.done():
        logger.warning("the connections of an event loop that does not answer are closed when it ends")
    elif not closing.cancelled() and closing.exception() is not None:
        logger.debug("the connections of another event loop: %r", closing.exception())


__all__ = ["close_elsewhere", "close_elsewhere_blocking", "finish", "finish_soon", "finish_without_loop"]
