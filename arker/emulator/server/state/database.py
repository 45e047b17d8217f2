"""The database of a state directory. The only module of the backend that imports sqlite3.

What is committed outlives this process whatever ends it, since the kernel has it then; a commit does not wait for the
disk (``synchronous=NORMAL``). After a loss of power the database is as it was at some earlier moment, and sound. What
does wait for the disk, the checkpoint, is done by a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from arker.emulator.sandbox.pressure import DISK_FULL
from arker.errors import StateDirectoryError

logger = logging.getLogger("arker.emulator")

NAME: Final = "records.sqlite3"
_UNFINISHED: Final = f"{NAME}.new"
UNFINISHED: Final = (_UNFINISHED, f"{_UNFINISHED}-journal")
"""The files of a database that is being made."""
VERSION: Final = 1
_APPLICATION_ID: Final = 0x61726B65  # "arke"
_CHECKPOINT_AT: Final = 4 * 1024 * 1024
"""Bytes of the write-ahead log from which on it is put into the database."""
_AGAIN_AFTER: Final = 1024 * 1024
"""Bytes by which it has grown when that is done again: it begins anew only if nothing was written meanwhile."""
_LARGE_LOG: Final = 16 * 1024 * 1024
"""Bytes from which on it is done again at once."""
_LOG_KEPT: Final = _CHECKPOINT_AT // 2
"""Bytes that its file keeps when it begins anew."""
_PASSES: Final = 5
"""How often what was written meanwhile is put into the database as well."""
_RESERVE: Final = "reserve"
_RESERVED: Final = 1024 * 1024
"""Bytes of a file that gives way when the disk is full, so that deletions and ends of runs can still be recorded."""
_STEP: Final = 64 * 1024
"""Bytes that it gives at a time: what is left over others may take."""

Kind: TypeAlias = Literal["vm", "session", "run", "upload", "filesystem", "key", "write"]
Operation: TypeAlias = tuple[str, tuple[Any, ...]]
"""A statement and its parameters."""

_SCHEMA: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE records (kind TEXT NOT NULL, id TEXT NOT NULL, vm_id TEXT, doc TEXT NOT NULL, PRIMARY KEY (kind, id))"
    " WITHOUT ROWID",
    "CREATE INDEX records_by_vm ON records (vm_id) WHERE vm_id IS NOT NULL",
    "CREATE TABLE outputs (run_id TEXT NOT NULL, name TEXT NOT NULL, vm_id TEXT NOT NULL, content BLOB NOT NULL,"
    " PRIMARY KEY (run_id, name)) WITHOUT ROWID",
    "CREATE INDEX outputs_by_vm ON outputs (vm_id)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)


class NoRoomError(Exception):
    """A change could not be recorded, and was not. The message says what is lacking."""


def put(kind: Kind, id: str, doc: str, vm_id: str | None = None) -> Operation:
    """Return the operation that writes a record."""
    statement = "INSERT INTO records (kind, id, vm_id, doc) VALUES (?, ?, ?, ?)"
    # SQLite before 3.35, as some systems have it, wants to be told the key.
    return f"{statement} ON CONFLICT (kind, id) DO UPDATE SET doc = excluded.doc", (kind, id, vm_id, doc)


def remove(kind: Kind, id: str) -> Operation:
    """Return the operation that removes a record."""
    return "DELETE FROM records WHERE kind = ? AND id = ?", (kind, id)


def remove_vm(vm_id: str) -> list[Operation]:
    """Return the operations that remove a VM with everything of it."""
    return [
        ("DELETE FROM records WHERE vm_id = ?", (vm_id,)),
        ("DELETE FROM outputs WHERE vm_id = ?", (vm_id,)),
        remove("vm", vm_id),
    ]


def put_output(run_id: str, name: str, vm_id: str, content: bytes) -> Operation:
    """Return the operation that writes a small output."""
    statement = "INSERT OR REPLACE INTO outputs (run_id, name, vm_id, content) VALUES (?, ?, ?, ?)"
    return statement, (run_id, name, vm_id, content)


REMOVE_ALL: Final[Sequence[Operation]] = (("DELETE FROM records", ()), ("DELETE FROM outputs", ()))


class Database:
    """An open database. Used by one thread only."""

    def __init__(self, directory: Path) -> None:
        """Open the database of a directory, which this process has locked.

        Raises:
            StateDirectoryError: It is damaged, or of a newer version, or there is none and the directory is not empty.
            OSError: It cannot be read or made.
        """
        self.path = directory / NAME
        self._reserve = directory / _RESERVE
        self._checkpoint: asyncio.Task[None] | None = None
        self._tidied_at = 0
        """The size of the write-ahead log at the latest checkpoint, if it has not begun anew since."""
        self._reserved = _size(self._reserve)
        while True:
            try:
                if not self.path.exists():
                    _make(directory)
                self._open()
                break
            except sqlite3.OperationalError as error:
                # Its log, and what is beside that, are made anew after an orderly end.
                if not _is_of_disk(error) or not self.give_way():
                    raise OSError(0, f"{self.path}: {error}") from error
            except sqlite3.DatabaseError as error:
                raise self.damaged(str(error)) from error
        self._fill_reserve()

    def damaged(self, what: str) -> StateDirectoryError:
        """Return the error for a database whose content makes no sense."""
        return StateDirectoryError(
            f"the state directory {self.path.parent} is damaged: {self.path.name}: {what}. Restore it from a copy, or "
            "use another directory",
            path=str(self.path.parent),
            reason="damaged",
        )

    def apply(self, operations: Sequence[Operation], *, urgent: bool = False) -> None:
        """Apply all of the operations, or none. They are on record when this returns.

        Args:
            operations: Statements in their order.
            urgent: Whether they may use the reserve of disk space.

        Raises:
            NoRoomError: There is no room for them on the disk.
        """
        if not urgent and self._reserved < _RESERVED and not self._fill_reserve():
            raise NoRoomError(f"the state directory takes no more: {DISK_FULL}")
        while True:
            try:
                self._apply(operations)
            except sqlite3.OperationalError as error:
                if not urgent or not self.give_way():
                    raise NoRoomError(f"the state directory takes no more: {_reason(error)}") from error
            else:
                return

    def give_way(self) -> bool:
        """Give some of the reserve of disk space back. Returns whether there was some."""
        if not self._reserved:
            return False
        self._reserved = max(0, self._reserved - _STEP)
        os.truncate(self._reserve, self._reserved)
        return True

    def records(self, kind: Kind) -> Iterator[tuple[str, str]]:
        """Return the id and the text of every record of a kind, in the order of ids, which is that of time."""
        with self._readable():
            yield from self._connection.execute("SELECT id, doc FROM records WHERE kind = ? ORDER BY id", (kind,))

    def output(self, run_id: str, name: str) -> bytes | None:
        """Return a small output; None when there is none."""
        statement = "SELECT content FROM outputs WHERE run_id = ? AND name = ?"
        with self._readable():
            row: tuple[Any] | None = self._connection.execute(statement, (run_id, name)).fetchone()
        if row is None:
            return None
        if not isinstance(row[0], bytes):
            raise self.damaged(f"the {name} of run {run_id} is no bytes")
        return row[0]

    def meta(self, name: str) -> str | None:
        """Return what was noted of the directory as a whole."""
        statement = "SELECT value FROM meta WHERE name = ?"
        with self._readable():
            row: tuple[str] | None = self._connection.execute(statement, (name,)).fetchone()
        return None if row is None else row[0]

    def note_meta(self, name: str, value: str) -> None:
        """Note something of the directory as a whole."""
        self.apply([("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))])

    def tidy(self) -> None:
        """Start what keeps the files small and the next commits quick, if there is a need. It goes on in a thread."""
        size = _size(self.path.with_name(f"{NAME}-wal"))
        if size <= _CHECKPOINT_AT:
            self._tidied_at = 0
        elif self._checkpoint is None and size >= min(self._tidied_at + _AGAIN_AFTER, _LARGE_LOG):
            self._tidied_at = size
            self._checkpoint = asyncio.get_running_loop().create_task(self._in_thread())

    async def finish(self) -> None:
        """Wait for what `tidy` has started."""
        if self._checkpoint is not None:
            await asyncio.wait((self._checkpoint,))

    def close(self) -> None:
        """Close the database. Whatever has been applied stays."""
        self._connection.close()

    async def _in_thread(self) -> None:
        try:
            await asyncio.to_thread(_checkpoint, self.path)
        except sqlite3.Error as error:
            logger.warning("the records of the state directory could not be tidied up: %s", error)
        finally:
            self._checkpoint = None

    def _open(self) -> None:
        self._connection = _connection(self.path)
        try:
            self._check()
            _set_up(self._connection)
        except BaseException:
            self._connection.close()
            raise

    def _apply(self, operations: Sequence[Operation]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement, parameters in operations:
                connection.execute(statement, parameters)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _check(self) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if application != _APPLICATION_ID:
            raise self.damaged("it is no database of this program")
        if version > VERSION:
            raise StateDirectoryError(
                f"the state directory {self.path.parent} has the format {version}, of a newer version of arker-async; "
                f"this one knows format {VERSION}: use the newer version, or another directory",
                path=str(self.path.parent),
                reason="newer",
            )
        with self._readable():
            for (finding,) in self._connection.execute("PRAGMA quick_check(1)"):
                if finding != "ok":
                    raise self.damaged(str(finding))

    @contextlib.contextmanager
    def _readable(self) -> Generator[None]:
        """Tell what cannot be read: a sound structure may hold texts that are none."""
        try:
            yield
        except UnicodeDecodeError as error:
            raise self.damaged("a text in it is not UTF-8") from error
        except sqlite3.Error as error:
            raise self.damaged(str(error)) from error

    def _fill_reserve(self) -> bool:
        """Fill the reserve of disk space. Returns whether there is enough for that."""
        with contextlib.suppress(OSError):
            if self._reserved < _RESERVED:
                with self._reserve.open("ab") as file:
                    file.truncate(self._reserved)
                    # Not zeros, which some file systems do not store.
                    file.write(os.urandom(_RESERVED - self._reserved))
            self._reserved = _RESERVED
        return self._reserved == _RESERVED


def _make(directory: Path) -> None:
    """Make a database, which exists as a whole or not at all."""
    unfinished = directory / _UNFINISHED
    for name in UNFINISHED:
        (directory / name).unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    with contextlib.closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
        for statement in _SCHEMA:
            connection.execute(statement)
    os.rename(unfinished, directory / NAME)


def _connection(path: Path) -> sqlite3.Connection:
    uri = f"{path.as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    # The library's own decoder quotes a text that is not UTF-8 in its error, and VMs' variables may be secret.
    connection.text_factory = bytes.decode
    return connection


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_KEPT}")


def _checkpoint(path: Path) -> None:
    with contextlib.closing(_connection(path)) as connection:
        _set_up(connection)
        for _ in range(_PASSES):
            _, written, done = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if done == written:
                return


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _reason(error: sqlite3.OperationalError) -> str:
    return DISK_FULL if "full" in str(error) else str(error)


def _is_of_disk(error: sqlite3.OperationalError) -> bool:
    """Return whether a lack of disk space may be the reason."""
    return any(words in str(error) for words in ("full", "disk I/O"))


__all__ = [
    "NAME",
    "REMOVE_ALL",
    "UNFINISHED",
    "VERSION",
    "Database",
    "Kind",
    "NoRoomError",
    "Operation",
    "put",
    "put_output",
    "remove",
    "remove_vm",
]
