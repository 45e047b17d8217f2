"""SIGTERM handled like Ctrl-C: it ends a program's context managers in order instead of killing the process at once.

While the main thread is in a client's ``with`` block, the signal raises `SystemExit` there, so that VMs are deleted;
the process then exits with the status that shells give to a terminated one. Nothing is done where the program, or what
it runs in, handles the signal itself.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from attrs import define

from arker._tasks import hurry
from arker._tasks.termination import EXIT_STATUS


@define
class _Watch:
    """The state of the signal's handler.

    Attributes:
        inside: The number of blocks that the main thread is in.
        terminated: Whether the signal has come.
    """

    inside: int = 0
    terminated: bool = False


_watch = _Watch()


def enter() -> bool:
    """Handle the signal. Pass the result to `leave`."""
    if threading.current_thread() is not threading.main_thread():
        return False  # only the main thread handles signals
    if not _watch.inside:
        before = signal.getsignal(signal.SIGTERM)
        if before is not signal.SIG_DFL and before is not _handle:
            return False
        try:
            signal.signal(signal.SIGTERM, _handle)
        except ValueError:  # the main thread of a subinterpreter, which may not
            return False
        _watch.terminated = False
    _watch.inside += 1
    return True


def leave(heeds: bool) -> None:
    """Leave the block after all its clean-up, in any thread."""
    if not heeds or not _watch.inside:
        return
    _watch.inside -= 1
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may restore the signal's handler; ours does it when it is called
    if not _watch.inside and signal.getsignal(signal.SIGTERM) is _handle:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _handle(number: int, frame: FrameType | None) -> None:
    if not _watch.inside and not _watch.terminated:  # the last block was left in another thread
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        return
    hurries = hurry.signalled()
    if _watch.terminated or hurries:
        return
    _watch.terminated = True
    raise SystemExit(EXIT_STATUS)


__all__ = ["enter", "leave"]
