"""Work that is carried through although its task is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


async def carry_through(work: Coroutine[Any, Any, T]) -> T:
    """Wait until the work is done, whatever cancels the caller meanwhile; then the cancellation goes on.

    The work is a task of its own, since a cancelled task is interrupted at its next await: a shield of anyio's holds
    off anyio's cancel scopes, but not ``task.cancel()``, which `asyncio.wait_for` and `asyncio.timeout` use. The work
    must have a bound of its own.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # else the loop reports it as never retrieved
        raise cancelled
    return task.result()


__all__ = ["carry_through"]
