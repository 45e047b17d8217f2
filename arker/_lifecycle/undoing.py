"""Creations whose caller was cancelled: what they made is removed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from arker._tasks import clock, hurry
from arker._tasks.cleanup import CLEANUP_SECONDS, end
from arker.errors import ArkerError

if TYPE_CHECKING:
    from arker._transport.attempts import Progress


async def undo(
    task: asyncio.Task[Any],
    progress: Progress,
    *,
    remove: Callable[[], Coroutine[Any, Any, None]],
    what: Callable[[], str],
) -> str | ArkerError | None:
    """End a creation whose caller was cancelled, and remove what it made, in `CLEANUP_SECONDS` at most.

    Args:
        task: The creation. A request that was not sent is not sent any more.
        progress: How far it has come.
        remove: Waits for the reply of a request that was sent, and removes what it made. Raises an `ArkerError` if that
            may still exist.
        what: Names what was made, for a program that ends in a hurry.

    Returns:
        The reason why something may be left; None if nothing is, or if it was named already.
    """
    progress.abandoned = True
    if not task.done() and not progress.may_have_begun:
        await end(task)
        return None
    problem: str | ArkerError = f"no answer within {CLEANUP_SECONDS:g} s"
    with clock.move_on_after(hurry.bound(CLEANUP_SECONDS)):
        try:
            await remove()
            progress.outcome, progress.in_flight = "not_started", False
            return None
        except ArkerError as error:
            error.__traceback__ = None  # the task may have the error, and its traceback would have this frame
            if error.outcome == "not_started":
                return None
            problem = error
        except asyncio.CancelledError:
            if not hurry.asked():
                raise
    await end(task)
    if hurry.asked():
        hurry.left_behind(what())
        return None
    return problem


__all__ = ["undo"]
