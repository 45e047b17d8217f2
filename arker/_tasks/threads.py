"""Blocking work in a thread. A cancelled caller has it stopped, and goes on when it has stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

from arker._tasks.cleanup import carry_through
from arker._tasks.running_loop import running_loop

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)


class StoppedError(Exception):
    """An error raised inside the work to end it."""


def begin_in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Start blocking work in a thread of the loop.

    (Threads of anyio end with the task that the loop was started for. If a library has replaced the running of loops,
    as `nest_asyncio` does, there is no such task, and the interpreter would wait for the threads at its end.)

    If no thread can be started, because the interpreter is ending or there are as many as there may be, the loop itself
    does the work at once.
    """
    loop = running_loop()
    once = _Once(work)
    try:
        return loop.run_in_executor(None, once)
    except RuntimeError:
        done: asyncio.Future[T] = loop.create_future()
        try:
            done.set_result(once())
        except Exception as error:
            done.set_exception(error)
        return done


class _Once(Generic[T]):
    """Work that is done by the first thread that calls it; a second one gets the same outcome.

    An executor that cannot start another thread raises an error although the work is in its queue, where one of its
    other threads finds it later: what is read from a caller's file would be read twice.
    """

    __slots__ = ("_error", "_lock", "_value", "_work")
    _value: T

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._error: BaseException | None = None
        self._lock = threading.Lock()

    def __call__(self) -> T:
        with self._lock:
            work, self._work = self._work, None
            if work is not None:
                try:
                    self._value = work()
                except BaseException as error:
                    self._error = _for_future(error)
        if self._error is None:
            return self._value
        try:
            raise self._error
        finally:
            del self, work  # the traceback has this frame


def _for_future(error: BaseException) -> BaseException:
    """Return what a future can have as its error: no `StopIteration`, which its caller would wait for without end."""
    if not isinstance(error, StopIteration):
        return error
    told = RuntimeError("a function that runs in a thread raised StopIteration")
    told.__cause__ = error
    return told


def as_value(error: E) -> E:
    """Return an error that is a part of what work in a thread returns, without tracebacks.

    They would lead to the thread's own frame, and that has the result.
    """
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Return the result of work that may block. A cancelled caller does not wait for it."""
    return await begin_in_thread(partial(work, *arguments))


async def in_own_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Return the result of work that may wait for other work, as the reading of a pipe does.

    The threads of a loop are few: if all of them waited, what they wait for could not be done. A cancelled caller does
    not wait for it; the interpreter does, at its end.
    """
    loop = running_loop()
    done: asyncio.Future[T] = loop.create_future()
    try:
        threading.Thread(target=_run, args=(partial(work, *arguments), loop, done), name="arker").start()
    except RuntimeError:  # the interpreter ends, or may have no more threads
        return await in_thread(work, *arguments)
    try:
        return await done
    finally:
        del done  # it keeps what it failed with, whose traceback has this frame


def _run(work: Callable[[], Any], loop: asyncio.AbstractEventLoop, done: asyncio.Future[Any]) -> None:
    try:
        settle = partial(done.set_result, work())
    except BaseException as error:
        # This frame has what keeps the error.
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        settle = partial(done.set_exception, _for_future(error))
    with suppress(RuntimeError):  # the loop was closed meanwhile
        loop.call_soon_threadsafe(_settle, done, settle)


def _settle(done: asyncio.Future[Any], settle: Callable[[], None]) -> None:
    if not done.done():
        settle()


async def finished_in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Return the result of short blocking work that must not be left unfinished.

    A cancelled caller waits for its end.
    """
    return await carry_through(in_thread(work, *arguments))


async def stoppable(work: Callable[[Callable[[], None]], T]) -> T:
    """Run blocking work in a thread, and return its result.

    Args:
        work: Takes a function that it must call at least every few milliseconds, and that raises when it is to end.
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
    finally:
        del future  # it keeps what it failed with, whose traceback has this frame


async def _ended(future: asyncio.Future[T]) -> None:
    await asyncio.wait({future})
    if not future.cancelled():
        future.exception()  # else the loop reports it as never retrieved


__all__ = [
    "StoppedError",
    "as_value",
    "begin_in_thread",
    "finished_in_thread",
    "in_own_thread",
    "in_thread",
    "stoppable",
]
