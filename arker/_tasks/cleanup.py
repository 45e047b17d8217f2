"""Work that runs to its end although its task is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeVar

import anyio

from arker._tasks import hurry
from arker._tasks.running_loop import running_loop

T = TypeVar("T")

CLEANUP_SECONDS: Final = 10.0
"""Bound on a clean-up in seconds: on finding the outcome of abandoned work, and on removing it."""


APART: Final[ContextVar[bool]] = ContextVar("arker_apart", default=False)
"""Whether a task works for another one, which waits for its end whatever happens."""


async def carry_through(work: Coroutine[Any, Any, T]) -> T:
    """Wait until the work is done, even if the caller is cancelled meanwhile. Then the cancellation goes on.

    The work is a task of its own, since a cancelled task is interrupted at its next await: a shield of anyio's holds
    off anyio's cancel scopes, but not ``task.cancel()``, which `asyncio.wait_for` and `asyncio.timeout` use. The work
    must have a bound of its own.
    """
    try:
        loop = running_loop()
    except BaseException:
        work.close()
        raise
    return await _settled(_begun(loop, work))


async def clean_up(work: Coroutine[Any, Any, T], *, cut: bool = True) -> T:
    """Carry through work that removes what was made; a second Ctrl-C or SIGTERM cuts it short, see `hurry`.

    Args:
        work: The work. When it is cancelled because there is no time left, it must say itself what it leaves.
        cut: Whether it is then cancelled; else all that it waits for must be.
    """
    try:
        loop = running_loop()
    except BaseException:
        work.close()
        raise
    task = _begin_apart(loop, work)
    with hurry.cleaning_up(task, cut=cut):
        return await _settled(task)


async def end(task: asyncio.Future[Any]) -> None:
    """Cancel a task and wait until it has ended. Its result is ignored."""
    task.cancel()

    async def ended() -> None:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # else the loop reports it as never retrieved

    # A task that has begun may need some steps to end, and a caller that is cancelled itself must not leave it behind.
    await carry_through(ended())


def retrieve(future: asyncio.Future[Any]) -> None:
    """Take the failure of a future that may no longer be awaited, which the loop would report."""
    if not future.cancelled():
        future.exception()


async def make_or_undo(
    make: Coroutine[Any, Any, T], abandon: Callable[[asyncio.Task[T]], Coroutine[Any, Any, None]]
) -> T:
    """Return what ``make`` makes. If the caller is cancelled meanwhile, it is undone before the cancellation goes on.

    Args:
        make: Makes it, in a task of its own, which a cancellation of the caller does not reach.
        abandon: Called with that task when the caller is cancelled: ends it, and undoes its work. It must have a
            bound of its own.
    """
    try:
        loop = running_loop()
    except BaseException:
        make.close()
        raise
    task = _begin_apart(loop, make)
    over: asyncio.Future[None] = loop.create_future()
    # Neither a closure nor a scope: of hundreds of these at once, each object is one more for the garbage collector.
    task.add_done_callback(partial(_wake, over))
    try:
        await over
    except asyncio.CancelledError:
        await clean_up(abandon(task))
        raise
    try:
        return task.result()
    finally:
        del task  # it keeps what it failed with, whose traceback has this frame


def _begin_apart(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    before = APART.set(True)
    try:
        return _begun(loop, work)
    finally:
        APART.reset(before)


def _begun(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin work that only its waiter ends.

    `asyncio.run` and its like end by cancelling all registered tasks. They wait for the waiter, and so for the work.
    Cancelled itself, maybe before its first step, it would leave what it was to remove.
    """
    task = loop.create_task(work)
    if isinstance(task, asyncio.Task):  # pyright: ignore[reportUnnecessaryIsInstance] - a factory gives what it likes
        asyncio._unregister_task(task)
    return task


def _wake(over: asyncio.Future[None], _: asyncio.Task[Any]) -> None:
    if not over.done():
        over.set_result(None)


async def _settled(task: asyncio.Future[T]) -> T:
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                cancelled = error
    try:
        if cancelled is not None:
            if not task.cancelled():
                task.exception()  # else the loop reports it as never retrieved
            raise cancelled
        return task.result()
    finally:
        del task, cancelled  # the traceback of what is raised has this frame


__all__ = ["APART", "CLEANUP_SECONDS", "carry_through", "clean_up", "end", "make_or_undo", "retrieve"]
