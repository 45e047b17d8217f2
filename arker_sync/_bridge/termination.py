"""SIGTERM ends a program's context managers in an orderly way, as Ctrl-C does, instead of ending the process at once.

While the main thread is in a client's ``with`` block, the signal raises `SystemExit` there, so that VMs are deleted;
the process then exits with the status that shells give to a terminated one. Nothing is done where the program, or what
it runs in, handles the signal itself.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

from attrs import define

from arker._tasks.termination import EXIT_STATUS


@define
class _Watch:
    """What the handler of the signal knows.

    Attributes:
        inside: In how many blocks the main thread is.
        terminated: Whether the signal has come.
    """

    inside: int = 0
    terminated: bool = False


_watch = _Watch()


def enter() -> bool:
    """Heed the signal; what comes back is to be given to `leave`."""
    if threading.current_thread() is not threading.main_thread():
        return False  # signals are the main thread's business
    if not _watch.inside:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return False
        signal.signal(signal.SIGTERM, _handle)
        _watch.terminated = False
    _watch.inside += 1
    return True


def leave(heeds: bool) -> None:
    """The block is over, and all that it has to clean up is done."""
    if not heeds or not _watch.inside:
        return
    _watch.inside -= 1
    if not _watch.inside and signal.getsignal(signal.SIGTERM) is _handle:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _handle(number: int, frame: FrameType | None) -> None:
    if _watch.terminated:
        return  # cleaning up is bounded; a second signal must not make it cut short
    _watch.terminated = True
    raise SystemExit(EXIT_STATUS)


__all__ = ["enter", "leave"]
