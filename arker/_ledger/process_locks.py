"""The owners of a ledger's VMs: an owner is a process, and it lives as long as its lock is held.

Each owner has a file beside the ledger and a record lock on it. The kernel drops the lock with the process, however it
ends; a process id would mean nothing once it was reused. Two properties of POSIX record locks matter: ``os.fork()``
does not pass them on, and closing any descriptor of a file drops the locks that the process has on it. So a process
never opens its own owner's file a second time.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Final

from attrs import define, field

from arker._tasks.process import hand_in

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

DIRECTORY: Final = "owners"
_PRIVATE: Final = 0o600
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock a descriptor's file until it is closed, without waiting; return whether that succeeded.

    A shared lock excludes exclusive ones only (on Windows all are exclusive).
    """
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.lockf(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@functools.cache
def this_host() -> str:
    """Return the name of the scope of this process's file locks: a running kernel, or else a machine's name.

    A restarted machine counts as another one, because it could be a copy of one that is still running.
    """
    try:
        return f"boot {_BOOT_ID.read_text().strip()}"
    except OSError:
        return f"name {socket.gethostname()}"


@define
class _Held:
    """The ownership that this process holds."""

    owner: str
    path: Path
    descriptor: int
    holders: int = 1

    def renew(self) -> None:
        """Make the file anew if it was removed: without it, other processes would take this one for dead."""
        try:
            if os.path.samestat(os.stat(self.path), os.fstat(self.descriptor)):
                return
        except FileNotFoundError:
            pass
        before, self.descriptor = self.descriptor, _locked(self.path, os.O_CREAT)
        os.close(before)

    def release(self) -> None:
        # An owner without a file is as dead as one whose file is not locked.
        with contextlib.suppress(OSError):
            self.path.unlink()
        os.close(self.descriptor)


@define
class _Process:
    """The locks of this process, by directory."""

    guard: threading.Lock = field(factory=threading.Lock)
    held: dict[Path, _Held] = field(factory=dict[Path, _Held])


_process: Final = _Process()


def enter(directory: Path) -> str:
    """Return the id under which this process owns VMs in a directory's ledgers. Call `leave` as often.

    Raises:
        OSError: The lock cannot be taken.
    """
    with _process.guard:
        held = _process.held.get(directory)
        if held is None:
            held = _process.held[directory] = _take(directory / DIRECTORY)
        else:
            held.holders += 1
        return held.owner


def renew(directory: Path) -> None:
    """Make sure that this process is still known as an owner in a directory, even if its file there was removed.

    Raises:
        OSError: The lock cannot be taken.
    """
    with _process.guard:
        held = _process.held.get(directory)
        if held is not None and sys.platform != "win32":  # which removes no open files
            held.renew()


def leave(directory: Path) -> None:
    """Undo an `enter`. The last one ends the owner."""
    with _process.guard:
        held = _process.held.get(directory)
        if held is not None:
            held.holders -= 1
            if not held.holders:
                del _process.held[directory]
                held.release()


def lives(directory: Path, owner: str) -> bool:
    """Return whether an owner's process on this host is alive; True as well when that is unknown."""
    with _process.guard:
        if any(held.owner == owner for held in _process.held.values()):
            return True
    try:
        descriptor = os.open(_file(directory / DIRECTORY, owner), os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return not lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def sweep(directory: Path, wanted: Collection[str]) -> None:
    """Remove the files of dead owners, except those that are still needed."""
    with contextlib.suppress(OSError):
        for path in (directory / DIRECTORY).iterdir():
            if path.suffix == ".lock" and path.stem not in wanted and not lives(directory, path.stem):
                with contextlib.suppress(OSError):
                    path.unlink()


def _take(owners: Path) -> _Held:
    # A sweep may remove the file before it is locked. Then another one is made.
    for _ in range(10):
        owner = os.urandom(8).hex()
        path = _file(owners, owner)
        try:
            descriptor = _locked(path, os.O_CREAT | os.O_EXCL)
        except BlockingIOError:
            path.unlink(missing_ok=True)
        else:
            return _Held(owner, path, descriptor)
    raise OSError(f"no file in {owners} can be locked")


def _locked(path: Path, flags: int) -> int:
    """Return the descriptor of an owner's file, locked; raises `BlockingIOError` if it cannot be locked."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | flags, _PRIVATE)
    if lock(descriptor) and (sys.platform == "win32" or os.fstat(descriptor).st_nlink):
        return descriptor
    os.close(descriptor)
    raise BlockingIOError(f"{path} cannot be locked")


def _file(owners: Path, owner: str) -> Path:
    return owners / f"{owner}.lock"


def _release_all() -> None:
    with _process.guard:
        for held in _process.held.values():
            held.release()
        _process.held.clear()


def _after_fork_in_child() -> None:
    """Close the parent's locks in the child. That does not release them in the parent."""
    _process.guard = threading.Lock()
    for held in _process.held.values():
        os.close(held.descriptor)
    _process.held.clear()


hand_in("process locks", in_child=_after_fork_in_child, at_exit=_release_all)

__all__ = ["enter", "leave", "lives", "lock", "sweep", "this_host"]
