"""What reads standard output: a command that waits for something to print ends with it."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from arker._tasks import clock
from arker._tasks.cleanup import end

_PAUSE: Final = 0.5
"""Seconds between two looks."""


@asynccontextmanager
async def while_read() -> AsyncGenerator[None, None]:
    """End what is done in the block by `BrokenPipeError` when the reader of standard output has ended.

    Otherwise only the next piece of output would tell, and none may come: ``arker watch | grep -m1 idle``.
    """
    with anyio.CancelScope() as scope:
        watching = asyncio.ensure_future(_until_none_reads(scope))
        try:
            yield
        finally:
            await end(watching)
    if scope.cancelled_caught:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


async def _until_none_reads(scope: anyio.CancelScope) -> None:
    if not hasattr(select, "poll"):
        return
    looking = select.poll()
    looking.register(sys.stdout.fileno(), 0)  # which reports errors only
    while not any(events & select.POLLERR for _, events in looking.poll(0)):
        await clock.sleep(_PAUSE)
    scope.cancel()


__all__ = ["while_read"]
