"""The time, and waiting, even where a test has replaced the clocks.

Tools that freeze time (freezegun, a patched ``time.monotonic``) stop the clock of every asyncio loop of the process:
its timers never fire. A waiting client must go on nevertheless, so its waits are counted here. Where a loop's clock is
right, the loop's own timers are used, as they cost the least.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import BuiltinFunctionType
from typing import Any, Final, Protocol, TypeVar

import anyio

from arker._tasks.running_loop import running_loop

F = TypeVar("F", bound="asyncio.Future[Any]")

_TOLERANCE: Final = 1.0
"""Seconds between a loop's clock and this one; with more, it is not the machine's clock. (Some are imprecise.)"""


def _clock(function: Callable[[], float], number: str) -> Callable[[], float]:
    """Return a clock, held in a way that tools which replace functions do not find."""
    # This may be imported when they have replaced them already.
    if isinstance(function, BuiltinFunctionType) or not hasattr(time, "clock_gettime"):
        return partial(function)
    return partial(time.clock_gettime, getattr(time, number))


now: Final = _clock(time.monotonic, "CLOCK_MONOTONIC")
"""Seconds of a monotonic clock."""
wall: Final = _clock(time.time, "CLOCK_REALTIME")
"""Seconds since the epoch."""
pause: Final = partial(time.sleep)
"""Blocks its thread for some seconds."""


class Timer(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Cancel the call."""
        ...


class _Alarm:
    """A timer for a loop whose own timers never fire: a thread waits instead."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._callback = callback
        self._cancelled = False
        self._thread = threading.Timer(max(0.0, seconds), self._ring)
        self._thread.daemon = True
        self._thread.start()

    def _ring(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._come)
        except RuntimeError:  # the loop was closed meanwhile
            pass

    def _come(self) -> None:
        if not self._cancelled:
            self._callback()

    def cancel(self) -> None:
        self._cancelled = True
        self._thread.cancel()


def goes(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether a loop's clock is the machine's."""
    return abs(loop.time() - now()) < _TOLERANCE


def call_later(loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
    """Schedule a call in the running loop after some seconds."""
    if goes(loop):
        return loop.call_later(seconds, callback, *args)
    return _Alarm(loop, seconds, partial(callback, *args))


async def sleep(seconds: float) -> None:
    """Wait for some seconds."""
    loop = running_loop()
    if seconds <= 0 or goes(loop):
        await asyncio.sleep(seconds)
        return
    over: asyncio.Future[None] = loop.create_future()
    alarm = _Alarm(loop, seconds, partial(_finish, over))
    try:
        await over
    finally:
        alarm.cancel()


def _finish(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


def move_on_after(seconds: float | None) -> AbstractContextManager[anyio.CancelScope]:
    """Return a scope that is cancelled after some seconds; None for never."""
    loop = running_loop()
    return anyio.move_on_after(seconds) if seconds is None or goes(loop) else _alarmed(loop, seconds)


@contextmanager
def _alarmed(loop: asyncio.AbstractEventLoop, seconds: float) -> Generator[anyio.CancelScope, None, None]:
    with anyio.CancelScope() as scope:
        alarm = _Alarm(loop, seconds, scope.cancel)
        try:
            yield scope
        finally:
            alarm.cancel()


async def wait(
    futures: Iterable[F], seconds: float | None, *, return_when: str = asyncio.ALL_COMPLETED
) -> tuple[set[F], set[F]]:
    """Wait as `asyncio.wait` does: return the tasks that ended within some seconds (None: no limit), and the others."""
    loop = running_loop()
    awaited = set(futures)
    if seconds is None or goes(loop):
        ended: tuple[set[F], set[F]] = await asyncio.wait(awaited, timeout=seconds, return_when=return_when)
        return ended
    over: asyncio.Future[None] = loop.create_future()
    alarm = _Alarm(loop, seconds, partial(_finish, over))
    waiting = asyncio.ensure_future(asyncio.wait(awaited, return_when=return_when))
    try:
        await asyncio.wait({waiting, over}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        alarm.cancel()
        waiting.cancel()
    done = {each for each in awaited if each.done()}
    return done, awaited - done


__all__ = ["Timer", "call_later", "goes", "move_on_after", "now", "pause", "sleep", "wait", "wall"]
