"""Forks that wait until their records are on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

from attrs import define, field

from arker._tasks import clock


@define(eq=False)
class Waiters:
    """The forks of one event loop that wait for the same commit."""

    futures: list[asyncio.Future[None]] = field(factory=list["asyncio.Future[None]"])
    bound: clock.Timer | None = None

    def resolve(self) -> None:
        """Let them go on, in their loop."""
        if self.bound is not None:
            self.bound.cancel()
        for future in self.futures:
            if not future.done():
                future.set_result(None)


Batch: TypeAlias = "dict[asyncio.AbstractEventLoop, Waiters]"


def resolve_all(waiting: Batch) -> None:
    """Let the waiters of all loops go on. Any thread may call this."""
    for loop, waiters in waiting.items():
        _call(loop, waiters.resolve)


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[], Any]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:  # the loop is closed, so there are no waiters
        pass


__all__ = ["Batch", "Waiters", "resolve_all"]
