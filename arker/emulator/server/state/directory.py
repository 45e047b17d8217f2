"""The state directory: whose it is, and what is in it.

lock             held by the server that has the directory
records.sqlite3  what is known of VMs, sessions, runs, filesystems, uploads and idempotency keys
reserve          disk space for the records of a server whose disk is full
processes        the first processes of VMs, for the next server to wait for
vms/ volumes/    files of VMs and of filesystems
spool/           large outputs of runs, and unfinished uploads
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Generator
from pathlib import Path
from typing import Final

from arker.emulator.sandbox.former import PATIENCE, Processes
from arker.emulator.server.state.database import NAME, UNFINISHED, Database, NoRoomError
from arker.errors import StateDirectoryError, StateDirectoryReason

_LOCK: Final = "lock"
_OURS: Final = frozenset((_LOCK, "reserve", "processes", "vms", "volumes", "spool", *UNFINISHED))
_CONTENT: Final = frozenset(("vms", "volumes", "spool"))


class StateDirectory:
    """A state directory that this process has, until `close`.

    Attributes:
        path: The directory.
        database: Its records.
        spool: The directory of outputs and uploads.
        secret: What cursors and presigned URLs are signed with, so that they are good beyond the server's end.
    """

    def __init__(self, path: Path) -> None:
        """Open a directory, and make it if there is none. Waits for what an earlier server has left running. Blocks.

        Raises:
            StateDirectoryError: It is another backend's, damaged, of a newer version, or cannot be used.
        """
        self.path = path
        self.spool = path / "spool"
        with _explained(path), contextlib.ExitStack() as opened:
            path.mkdir(mode=0o700, exist_ok=True)
            _require_ours(path)
            self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            opened.callback(os.close, self._lock)
            _take(path, self._lock)
            if not Processes(path).wait_for_former():
                message = f"VMs of the backend that had it before have not ended within {PATIENCE:g} s"
                raise _refusal(path, "in_use", message)
            self.database = Database(path)
            opened.callback(self.database.close)
            self.spool.mkdir(mode=0o700, exist_ok=True)
            self.secret = self._secret()
            opened.pop_all()

    def require_isolation(self, isolation: str, *, note: bool = False) -> None:
        """Check that VMs were isolated in the same way. Without isolation their files are in other places.

        Args:
            isolation: How they are isolated now.
            note: Whether that is noted if nothing was before.

        Raises:
            StateDirectoryError: They were not (``mismatched``).
        """
        made = self.database.meta("isolation")
        if made is None and note:
            self._noted("isolation", isolation)
        if made not in {None, isolation}:
            raise _refusal(self.path, "mismatched", f"it was made with isolation={made!r}, and this is {isolation!r}")

    def give_way(self) -> bool:
        """Give some of the reserve of disk space back. Returns whether there was some."""
        return self.database.give_way()

    def refusal(self, reason: StateDirectoryReason, why: str) -> StateDirectoryError:
        """Return the error for a directory that cannot be used."""
        return _refusal(self.path, reason, why)

    async def close(self) -> None:
        """Let go of the directory. Everything in it stays."""
        await self.database.finish()
        self.database.close()
        os.close(self._lock)

    def _secret(self) -> bytes:
        noted = self.database.meta("secret") or self._noted("secret", secrets.token_hex(32))
        try:
            return bytes.fromhex(noted)
        except (ValueError, TypeError) as error:
            raise self.database.damaged("its secret is no hexadecimal number") from error

    def _noted(self, name: str, value: str) -> str:
        try:
            self.database.note_meta(name, value)
        except NoRoomError as error:
            raise _refusal(self.path, "unusable", str(error)) from error
        return value


def _require_ours(path: Path) -> None:
    names = set(os.listdir(path))
    if NAME in names:
        return
    others = sorted(names - _OURS)
    if others:
        raise _refusal(path, "foreign", f"it is no state directory: there is {others[0]} in it; name an empty one")
    # An empty one, or one whose first server was killed before it had made the records.
    if names & _CONTENT:
        raise _refusal(path, "damaged", f"its records ({NAME}) are not there: restore them, or use another directory")


def _take(path: Path, lock: int) -> None:
    import fcntl

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _refusal(path, "in_use", "another backend is running on it") from None


@contextlib.contextmanager
def _explained(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise _refusal(path, "unusable", str(error)) from error


def _refusal(path: Path, reason: StateDirectoryReason, why: str) -> StateDirectoryError:
    return StateDirectoryError(f"the state directory {path} cannot be used: {why}", path=os.fspath(path), reason=reason)


__all__ = ["StateDirectory"]
