"""SIGTERM handled like Ctrl-C: it ends a program's context managers in order instead of killing the process at once.

By default SIGTERM kills a process at once, before it can delete its VMs. So while a client's ``async with`` block
lasts, the signal cancels the task that is in it. Everything is cleaned up as after any cancellation, and the process
then exits with the status that shells give to a terminated one. Nothing is done where the program, or what it runs in,
handles the signal itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections import Counter
from types import FrameType
from typing import Any, Final

from attrs import define, field

from arker._tasks import hurry

EXIT_STATUS: Final = 128 + signal.SIGTERM


@define
class _Watch:
    """The state of the signal's handler.

    Attributes:
        inside: The tasks that are in clients' blocks, with the number of blocks.
        terminated: Whether the signal has come.
    """

    inside: Counter[asyncio.Task[Any]] = field(factory=Counter["asyncio.Task[Any]"])
    terminated: bool = False


_watch = _Watch()


def enter() -> asyncio.Task[Any] | None:
    """Handle the signal on behalf of the running task. Pass the result to `leave`."""
    if threading.current_thread() is not threading.main_thread():
        return None  # only the main thread handles signals
    if not _watch.inside:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return None
        try:
            signal.signal(signal.SIGTERM, _handle)
        except ValueError:  # the main thread of a subinterpreter, which may not
            return None
    task = asyncio.current_task()
    if task is not None:
        _watch.inside[task] += 1
    return task


def leave(task: asyncio.Task[Any] | None) -> None:
    """Leave the block after all its clean-up.

    Raises:
        SystemExit: The signal came meanwhile.
    """
    if task is None or task not in _watch.inside:
        return
    _watch.inside[task] -= 1
    if _watch.inside[task] == 0:
        del _watch.inside[task]
    if _watch.inside:
        return
    if signal.getsignal(signal.SIGTERM) is _handle:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if _watch.terminated:
        _watch.terminated = False
        raise SystemExit(EXIT_STATUS)


def _handle(number: int, frame: FrameType | None) -> None:
    if not _watch.terminated and all(_has_ended(task) for task in _watch.inside):
        # The blocks were entered by tasks that have ended, so that there is nothing to cancel.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        return
    hurries = hurry.signalled()
    if _watch.terminated:
        return
    _watch.terminated = True
    if hurries:
        return  # the tasks are ending already, because of Ctrl-C
    for task in list(_watch.inside):
        if not _has_ended(task):
            # Safe whatever the loop is doing at this moment, which it interrupts; and it wakes a loop that waits.
            task.get_loop().call_soon_threadsafe(task.cancel)


def _has_ended(task: asyncio.Task[Any]) -> bool:
    return task.done() or task.get_loop().is_closed()


__all__ = ["EXIT_STATUS", "enter", "leave"]
