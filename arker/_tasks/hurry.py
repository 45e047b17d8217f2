"""A second Ctrl-C or SIGTERM, which comes while the first is being heeded: clean-ups are cut short.

The first one ends the program's work, and what was made is removed, which may take a while. The second one leaves
`GRACE` seconds for what is left of that. What could not be removed by then stays on record, and one warning names it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, Final, TypeVar

from attrs import define, field

from arker._tasks import clock

F = TypeVar("F", bound="asyncio.Future[Any]")

logger = logging.getLogger("arker")

GRACE: Final = 2.0
"""Seconds that are left for clean-ups after the second signal."""
_STEP: Final = 0.1


@define(eq=False)
class _State:
    """What is known of this process.

    Attributes:
        signals: How many have come since work went on.
        until: When clean-ups end at the latest, once a second one has come.
        going_on: Clean-ups: their tasks, with their loops where they may be cut off.
        left: What was not removed, in words.
        ending: How many bounded steps the main thread is taking because of a signal.
        heeding: How many have Ctrl-C heeded here.
        before: The handler that it had.
    """

    signals: int = 0
    until: float | None = None
    going_on: dict[asyncio.Future[Any], asyncio.AbstractEventLoop | None] = field(
        factory=dict["asyncio.Future[Any]", "asyncio.AbstractEventLoop | None"]
    )
    left: list[str] = field(factory=list[str])
    ending: int = 0
    heeding: int = 0
    before: Callable[[int, FrameType | None], Any] | None = None


_state = _State()


def signalled() -> bool:
    """Note, in a handler, that a signal has come; True if it is heeded by hurrying up, and by nothing else."""
    state = _state
    state.signals += 1
    if state.signals < 2 or not (state.going_on or state.ending):
        return False
    if state.until is None:
        state.until = clock.now() + GRACE
        for task, loop in tuple(state.going_on.items()):
            if loop is not None:
                try:
                    loop.call_soon_threadsafe(_cut_in_time, task, loop)
                except RuntimeError:  # the loop was closed
                    pass
    return True


def asked() -> bool:
    """Return whether clean-ups have to hurry."""
    return _state.until is not None


def expired() -> bool:
    """Return whether there is no time left for clean-ups."""
    return _state.until is not None and clock.now() >= _state.until


def bound(seconds: float) -> float:
    """Return the seconds that a clean-up may take, from the bound that it has otherwise."""
    return seconds if _state.until is None else max(0.0, min(seconds, _state.until - clock.now()))


def work_goes_on() -> None:
    """Forget the signals: the program has not ended because of them."""
    if _state.signals:
        _state.signals, _state.until = 0, None


async def wait(futures: Iterable[F], seconds: float, *, share: float = 1.0) -> set[F]:
    """Wait until all have ended; those that have not are given, after so many seconds or when there is no time left.

    Args:
        futures: What is waited for.
        seconds: The bound.
        share: The part of `GRACE` that they may have.
    """
    pending = set(futures)
    end = clock.now() + seconds
    while pending:
        until = end if _state.until is None else min(end, _state.until - GRACE * (1.0 - share))
        patience = until - clock.now()
        if patience <= 0:
            break
        _, pending = await clock.wait(pending, min(_STEP, patience))
    return pending


# --- clean-ups --------------------------------------------------------------------------------------------------------


@contextmanager
def cleaning_up(task: asyncio.Future[Any], *, cut: bool = True) -> Generator[None, None, None]:
    """Note that a clean-up goes on inside, in a task.

    Args:
        task: The task.
        cut: Whether it is cancelled when there is no time left. It must say itself what it leaves then.
    """
    loop = task.get_loop()
    _state.going_on[task] = loop if cut else None
    if cut and asked():
        _cut_in_time(task, loop)
    try:
        yield
    finally:
        _state.going_on.pop(task, None)


def _cut_in_time(task: asyncio.Future[Any], loop: asyncio.AbstractEventLoop) -> None:
    clock.call_later(loop, bound(GRACE), _cut, task, loop)


def _cut(task: asyncio.Future[Any], loop: asyncio.AbstractEventLoop) -> None:
    if task in _state.going_on and not task.done():
        task.cancel()
        # It may be in the middle of a step that needs a clean-up of its own.
        clock.call_later(loop, _STEP, _cut, task, loop)


def left_behind(*what: str) -> None:
    """Note what was not removed, since there was no time left."""
    _state.left.extend(each for each in what if each not in _state.left)


def report() -> None:
    """Name what was left, in one warning."""
    left, _state.left = _state.left, []
    if left:
        logger.warning(
            "a second signal cut the clean-up short, and these may still exist (`python -m arker reap` deletes "
            "those that are on the ledger): %s",
            ", ".join(left),
        )


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


@contextmanager
def heeded(*, ending: bool) -> Generator[None, None, None]:
    """Have a further Ctrl-C hurry what is done inside, in the main thread. A first signal has come already.

    Args:
        ending: Whether what is done inside ends something, and has a bound.
    """
    heeds = heed(first=True)
    ends = heeds and ending
    _state.ending += ends
    try:
        yield
    finally:
        _state.ending -= ends
        unheed(heeds)


def heed(*, first: bool = False) -> bool:
    """Have Ctrl-C noted, in the main thread, where the program does not handle it itself; `unheed` undoes it.

    Args:
        first: Whether a signal has come already.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    state = _state
    if not state.heeding:
        before: Any = signal.getsignal(signal.SIGINT)
        if not _is_ordinary(before):
            return False
        if not first:
            work_goes_on()
        state.before = before
        try:
            signal.signal(signal.SIGINT, _interrupted)
        except ValueError:  # the main thread of a subinterpreter, which may not
            return False
    state.heeding += 1
    if first:
        state.signals = max(1, state.signals)
    return True


def unheed(heeds: bool) -> None:
    """Undo what `heed` has said."""
    state = _state
    if not heeds or not state.heeding:
        return
    state.heeding -= 1
    if not state.heeding and signal.getsignal(signal.SIGINT) is _interrupted:
        signal.signal(signal.SIGINT, state.before)


def _is_ordinary(handler: object) -> bool:
    """Whether it is Python's own handler, or that of an `asyncio.Runner` (or anyio's), which cancels the main task."""
    if handler is signal.default_int_handler:
        return True
    return isinstance(handler, partial) and getattr(handler.func, "__name__", "") == "_on_sigint"


def _interrupted(number: int, frame: FrameType | None) -> None:
    if not signalled() and _state.before is not None:
        _state.before(number, frame)


__all__ = [
    "GRACE",
    "asked",
    "bound",
    "cleaning_up",
    "expired",
    "heed",
    "heeded",
    "left_behind",
    "report",
    "signalled",
    "unheed",
    "wait",
    "work_goes_on",
]
