"""Killing a process with everything below it, from outside of it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

_PATIENCE = 5.0


def kill_tree(root: int) -> None:
    """Kill what is below a process, a child subreaper, until nothing is there any more; then the process itself.

    It gives up on what is below after some seconds, never on the process. The process must be a child that nobody has
    waited for yet, so that its id is its own.
    """
    give_up = time.monotonic() + _PATIENCE
    while (found := _below(root)) and time.monotonic() < give_up:
        for pid in found:
            _send(pid, signal.SIGKILL)
        # What has lost its parent comes to the root, which has to be going to see that they end.
        _send(root, signal.SIGCONT)
        time.sleep(0.01)
    _send(root, signal.SIGKILL)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _below(root: int) -> set[int]:
    """Every process below another that has not ended; nothing where there is no /proc."""
    children: dict[int, list[int]] = {}
    ended: set[int] = set()
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            with contextlib.suppress(OSError):  # it has gone
                fields = Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(name))
                if fields[0] in (b"Z", b"X"):
                    ended.add(int(name))
    found: set[int] = set()
    todo = [root]
    while todo:
        new = children.get(todo.pop(), [])
        found.update(new)
        todo += new
    return found - ended


__all__ = ["kill_tree"]
