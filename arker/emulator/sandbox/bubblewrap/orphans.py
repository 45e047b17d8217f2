"""What a server that is killed amid the start of a sandbox can leave asleep, and its end.

A bwrap clones its second process, sets up the user namespace of that, and lets it go on by a number that it writes to
an eventfd. If the first one dies in between, as it does with its server, the second one waits without end.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import sys
import threading
from pathlib import Path
from typing import Final

from arker.emulator.sandbox.bubblewrap.arguments import tool_prefix
from arker.emulator.sandbox.bubblewrap.identity import spare_identity
from arker.emulator.sandbox.host.source import LOADER

_PROC: Final = Path("/proc")
_OURS: Final = (
    LOADER.encode(),
    b"\0".join(os.fsencode(option) for option in tool_prefix(Path())[1:-1]),
)
"""One of them is in the command line of every bwrap that a server starts."""
_READ: Final = {"x86_64": 0, "aarch64": 63}
"""The number of the system call in which it waits, by the processor. On another one nothing is ended."""


def end_orphans() -> None:
    """End what killed servers of this user have left, in a thread that nothing waits for."""
    if sys.platform != "linux":
        return
    threading.Thread(target=_end_orphans, name="arker-emulator-orphans", daemon=True).start()


def _end_orphans() -> None:
    identity = spare_identity()
    uid = os.geteuid() if identity is None else identity.uid
    for pid in [int(name) for name in os.listdir(_PROC) if name.isdigit()]:
        if _command(pid) == b"bwrap":
            with contextlib.suppress(OSError):
                _end_if_orphan(pid, uid)


def _end_if_orphan(pid: int, uid: int) -> None:
    descriptor = os.pidfd_open(pid)  # from here on the id is of this process, or the signal goes nowhere
    try:
        if is_orphan(pid, uid):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)


def is_orphan(pid: int, uid: int) -> bool:
    """Return whether a process is the second one of a bwrap of ours, and waits for its first one, which has ended.

    A process that cannot be looked at is not known to be one.

    Args:
        pid: Its id.
        uid: Who the VMs of this user's servers run as.
    """
    place = _PROC / str(pid)
    try:
        if place.stat().st_uid not in (uid, os.geteuid()) or os.path.basename(os.readlink(place / "exe")) != "bwrap":
            return False
        command = (place / "cmdline").read_bytes()
        # The number of a system call and its arguments, of which `read` has the descriptor first. Else a word.
        call, waits_on, *_ = (place / "syscall").read_bytes().split()
        if int(call) != _READ.get(platform.machine()):
            return False
        what = os.readlink(place / "fd" / str(int(waits_on, 16)))
    except (OSError, ValueError):
        return False
    parent = _parent(pid)
    its_own = any(mark in command for mark in _OURS) and what == "anon_inode:[eventfd]"
    return its_own and parent > 0 and _command(parent) not in (b"bwrap", b"")


def _command(pid: int) -> bytes:
    """Return the name of a process's program; none if it cannot be looked at."""
    try:
        return (_PROC / str(pid) / "stat").read_bytes().partition(b"(")[2].rpartition(b")")[0]
    except OSError:
        return b""


def _parent(pid: int) -> int:
    """Return a process's parent; 0 if it cannot be looked at."""
    try:
        return int((_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


__all__ = ["end_orphans", "is_orphan"]
