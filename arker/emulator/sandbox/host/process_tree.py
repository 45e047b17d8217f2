"""Killing a process and everything below it, from outside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from attrs import frozen

_PATIENCE = 5.0
_LONGEST_PAUSE = 0.05
"""Seconds between two looks at a process that is ending."""
_PR_SET_CHILD_SUBREAPER = 36


@frozen
class Started:
    """A process, by its id and the time at which it was started."""

    pid: int
    time: bytes


def kill_tree(root: int) -> None:
    """Kill everything below a process, a child subreaper, until nothing is left; then kill the process itself.

    After some seconds it gives up on the processes below, but never on the process itself. The process must be a child
    that has not been waited for yet, so that its id is not reused.
    """
    give_up = time.monotonic() + _PATIENCE
    while (found := _below(root)) and time.monotonic() < give_up:
        for pid in found:
            _send(pid, signal.SIGKILL)
        # Orphans are reparented to the root, which has to be running to reap them.
        _send(root, signal.SIGCONT)
        time.sleep(0.01)
    _send(root, signal.SIGKILL)


def adopt_orphans() -> None:
    """Adopt what this process's children leave behind when they end, where the system supports that.

    Else it goes to the first process of this machine or container, and that may be a program that collects none but its
    own children. A bwrap, for one, does not wait for the end of what it has started when a VM ends from inside.
    """
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def collect(orphan: Started) -> bool:
    """Collect a process that may have been left to this one, if it has ended. Returns whether it is gone."""
    if started(orphan.pid) != orphan:
        return True
    try:
        return os.waitpid(orphan.pid, os.WNOHANG)[0] != 0
    except ChildProcessError:  # it is another process's child
        return True


async def wait_until(ended: Callable[[], bool], pid: int, seconds: float | None) -> bool:
    """Wait until a process has ended.

    Args:
        ended: Tells whether it has, and collects it. It is asked again when the process may have ended.
        pid: Its id.
        seconds: How long to wait at most; None for no bound.

    Returns:
        Whether it has ended.
    """
    loop = asyncio.get_running_loop()
    give_up = None if seconds is None else loop.time() + seconds
    pause = 0.001
    with contextlib.ExitStack() as made:
        over = None if ended() else _watch(pid, made)
        while not ended():
            left = None if give_up is None else give_up - loop.time()
            if left is not None and left <= 0:
                return False
            if over is not None and not over.done():
                await asyncio.wait([over], timeout=left)
            else:  # the system does not tell, or the process that has to collect it has not done so yet
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
    return True


def _watch(pid: int, made: contextlib.ExitStack) -> asyncio.Future[None] | None:
    """Return a future that is done when a process ends; None where the system does not tell that."""
    if sys.platform != "linux":
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:  # no descriptor is left, an old kernel, or it has ended and is collected
        return None
    made.callback(os.close, descriptor)
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _notice, over)
    made.callback(loop.remove_reader, descriptor)
    return over


def _notice(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


def collect_all() -> None:
    """Collect every child that has ended. Use it at the end of this process, when no thread waits for children any
    more.
    """
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def started(pid: int) -> Started:
    """Return a process in a form that distinguishes it from later ones with the same id."""
    return Started(pid, _fields(pid)[19])


def has_ended(process: Started) -> bool:
    """Return whether a process has ended, with all of its namespace if it was the first one of that."""
    fields = _fields(process.pid)
    return fields[19] != process.time or fields[0] in (b"Z", b"X")


def launched_by(launcher: int) -> list[Started]:
    """Return the processes that a bwrap has started."""
    return [started(pid) for pid in _children(launcher)]


def kill_launched(launcher: int) -> list[Started]:
    """Kill what a bwrap has started, so that bwrap ends by itself. Returns the killed processes.

    If bwrap were killed at the same moment, what it has started would be left to others.
    """
    found = launched_by(launcher)
    for process in found:
        _send(process.pid, signal.SIGKILL)
    return found


def kill_group(launcher: int) -> None:
    """Kill a bwrap, the leader of a process group that has not been waited for yet, and what it has started.

    It is two processes, and the second does not yet follow the first when that dies very early.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(launcher, signal.SIGKILL)


def is_stopped(pid: int) -> bool:
    """Return whether a signal has stopped a process."""
    return _fields(pid)[0] == b"T"


def find_below(root: int, name: str) -> list[int]:
    """Find the processes with a name among a process and everything below it, the uppermost first."""
    found: list[int] = []
    for pid in (root, *sorted(_below(root))):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_bytes() == name.encode() + b"\n":
                found.append(pid)
    return found


def wake(pids: Iterable[int]) -> None:
    """Resume processes that a signal has stopped."""
    for pid in pids:
        if is_stopped(pid):
            _send(pid, signal.SIGCONT)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_bytes().split()]
    except FileNotFoundError:  # it has ended, or the kernel does not say
        return [child for child, parent, _ in _processes() if parent == pid]
    except OSError:
        return []


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _below(root: int) -> set[int]:
    """Return every process below another that has not ended; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    ended: set[int] = set()
    for pid, parent, state in _processes():
        children.setdefault(parent, []).append(pid)
        if state in (b"Z", b"X"):
            ended.add(pid)
    found: set[int] = set()
    todo = [root]
    while todo:
        new = children.get(todo.pop(), [])
        found.update(new)
        todo += new
    return found - ended


def _fields(pid: int) -> list[bytes]:
    """Return what /proc says of a process, from its state on; nothing for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return [b""] * 50


def _processes() -> Iterator[tuple[int, int, bytes]]:
    """Return every process with its parent and the letter of its state."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError):  # it has gone
                    fields = Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()
                    # The first thread of a process may have ended while others go on.
                    state = b"S" if fields[0] in (b"Z", b"X") and int(fields[17]) > 1 else fields[0]
                    yield int(name), int(fields[1]), state


__all__ = [
    "Started",
    "adopt_orphans",
    "collect",
    "collect_all",
    "find_below",
    "has_ended",
    "is_stopped",
    "kill_group",
    "kill_launched",
    "kill_tree",
    "launched_by",
    "started",
    "wait_until",
    "wake",
]
