"""The ledger's file: a SQLite database shared by processes. The only module that imports sqlite3."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from attrs import frozen

from arker._ledger import process_locks
from arker._tasks import clock

logger = logging.getLogger("arker")

FILE_NAME: Final = "ledger.sqlite3"
PATIENCE: Final = 2.0
"""Seconds to wait for another process that has the file locked."""

ANSWERED: Final = 2
"""A bit of a row's ``given_up``: the fork was answered with success. (A separate column would need a new version.)"""

_VERSION: Final = 1
_APPLICATION_ID: Final = 0x61726B72  # "arkr"

Operation: TypeAlias = tuple[str, tuple[Any, ...]]
"""The name of a statement, and its parameters."""

_SCHEMA: Final = f"""
CREATE TABLE forks (
    idempotency_key TEXT NOT NULL,
    base_url TEXT NOT NULL,
    account TEXT NOT NULL,
    client TEXT NOT NULL,
    body TEXT NOT NULL,
    name TEXT,
    vm_id TEXT,
    given_up INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    owner TEXT NOT NULL,
    host TEXT NOT NULL,
    ends_at REAL,
    PRIMARY KEY (idempotency_key, base_url, account, client)
) WITHOUT ROWID;
CREATE INDEX forks_by_vm_id ON forks (vm_id) WHERE vm_id IS NOT NULL;
CREATE INDEX forks_by_name ON forks (name) WHERE name IS NOT NULL;
CREATE INDEX forks_by_client ON forks (client);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};
"""

STATEMENTS: Final = {
    "intend": (
        "INSERT INTO forks (idempotency_key, base_url, body, name, created_at, account, client, owner, host)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        # The same fork once more, whose answer may be known.
        " ON CONFLICT (idempotency_key, base_url, account, client)"
        " DO UPDATE SET given_up = given_up & 2, owner = excluded.owner, host = excluded.host"
    ),
    "answered": (
        "UPDATE forks SET given_up = given_up | 2"
        " WHERE idempotency_key = ? AND base_url = ? AND account = ? AND vm_id IS NULL"
    ),
    "made": "UPDATE forks SET vm_id = ? WHERE idempotency_key = ? AND base_url = ? AND account = ?",
    "mistaken": (
        "UPDATE forks SET vm_id = NULL, given_up = given_up | 2"
        " WHERE idempotency_key = ? AND base_url = ? AND account = ? AND vm_id = ?"
    ),
    "forget": (
        "DELETE FROM forks WHERE idempotency_key = ? AND base_url = ? AND account = ? AND client = ? AND vm_id IS NULL"
    ),
    "drop": "DELETE FROM forks WHERE idempotency_key = ? AND base_url = ? AND account = ? AND client = ?",
    # Where an id is expected, servers take a name.
    "let_go": "DELETE FROM forks WHERE base_url = ? AND account = ? AND (vm_id = ? OR name = ?)",
    # A VM that was to be deleted now does not wait for its set time.
    "give_up": (
        "UPDATE forks SET given_up = given_up | 1, ends_at = min(ends_at, ?)"
        " WHERE base_url = ? AND account = ? AND (vm_id = ? OR name = ?)"
    ),
    # Other programs' rows of the VM as well: the last word counts.
    "ends": "UPDATE forks SET ends_at = ? WHERE base_url = ? AND account = ? AND (vm_id = ? OR name = ?)",
    # A VM that has no row, since it was forked without this ledger or is kept.
    "lives": (
        "INSERT INTO forks (idempotency_key, base_url, body, vm_id, created_at, ends_at, account, client, owner, host)"
        " SELECT * FROM"
        " (SELECT ?, ? AS at, '', ? AS vm, ?, ?, ? AS whose, ?, ?, ?) WHERE NOT EXISTS"
        " (SELECT 1 FROM forks WHERE base_url = at AND forks.account = whose AND (vm_id = vm OR name = vm))"
    ),
    # A VM whose row was released.
    "left": (
        "INSERT INTO forks (idempotency_key, base_url, body, vm_id, created_at, given_up, account, client, owner, host)"
        " VALUES (?, ?, '', ?, ?, 1, ?, ?, ?, ?)"
        " ON CONFLICT (idempotency_key, base_url, account, client) DO UPDATE SET given_up = given_up | 1"
    ),
    # Another program may have forked under the same key, and so have the same VM.
    "release": (
        "DELETE FROM forks WHERE (idempotency_key, base_url, account) IN"
        " (SELECT idempotency_key, base_url, account FROM forks"
        " WHERE client = ? AND vm_id IS NOT NULL AND NOT given_up & 1)"
        " AND ends_at IS NULL"
    ),
}
"""The statements on the rows, by name. Early Pythons 3.12 take parameters with numbers for named ones, and warn; SQLite
before 3.35, as some systems have it, wants to be told the key after ``ON CONFLICT``.
"""

_SELECT: Final = (
    "SELECT idempotency_key, base_url, client, body, vm_id, created_at, owner, host, given_up, ends_at FROM forks"
    " WHERE account = ? ORDER BY created_at"
)


@frozen
class Row:
    """A fork that was begun.

    Attributes:
        idempotency_key: The key that it was posted under.
        base_url: The base URL that it was posted to.
        client: The client that posted it.
        body: The posted body.
        vm_id: The id of its VM, once known.
        created_at: The time of the post, in seconds since the epoch.
        owner: The process that posted it.
        host: The scope of that process's file locks.
        given_up: Bits: 1 for a VM whose deletion failed, `ANSWERED`.
        ends_at: The time at which its VM is to be deleted, in seconds since the epoch; None for no set time.
    """

    idempotency_key: str
    base_url: str
    client: str
    body: str
    vm_id: str | None
    created_at: float
    owner: str
    host: str
    given_up: int
    ends_at: float | None

    @property
    def was_answered(self) -> bool:
        """Whether a successful reply to the fork named no VM."""
        return self.vm_id is None and bool(self.given_up & ANSWERED)


class UnusableError(Exception):
    """An error for a file that this version must never write to."""


# SQLite drops its own locks when a second descriptor of its file is closed in the process (a property of POSIX locks),
# so that making and setting aside files must not happen at the same time as opening them.
_opening = threading.Lock()


class Store:
    """An open ledger file. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open the file, and create it if there is none.

        Raises:
            UnusableError: It belongs to another program or to a newer version.
            OSError, sqlite3.Error: It cannot be read or created.
        """
        self.path = path
        with _opening:
            try:
                self._connection = _connect(path)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                _set_aside(path, error)
                self._connection = _connect(path)

    def apply(self, operations: Sequence[Operation]) -> None:
        """Apply all the operations, or none."""
        with _transaction(self._connection):
            for name, group in itertools.groupby(operations, key=lambda operation: operation[0]):
                self._connection.executemany(STATEMENTS[name], [parameters for _, parameters in group])

    def rows(self, account: str) -> list[Row]:
        """Return the known forks of an account, oldest first."""
        return [Row(*values) for values in self._connection.execute(_SELECT, (account,))]

    def owners(self) -> set[str]:
        """Return all owners that still have rows in the file."""
        return {owner for (owner,) in self._connection.execute("SELECT DISTINCT owner FROM forks")}

    def close(self) -> None:
        self._connection.close()


def is_damage(error: Exception) -> bool:
    """Return whether an error says that the file is not a sound database.

    SQLite raises subclasses of `DatabaseError` for all other errors.
    """
    return type(error) is sqlite3.DatabaseError


def may_pass(error: Exception) -> bool:
    """Return whether the same operations may succeed later: the file is locked or cannot be made, the disk is full."""
    return isinstance(error, (OSError, sqlite3.OperationalError))


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Generator[None, None, None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        # SQLite would let others read it, and gives the files beside it the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        if not _is_ready(connection):
            with _one_process(path):
                if not _is_ready(connection):
                    if not _is_shared_by_network(path):
                        connection.execute("PRAGMA journal_mode = WAL")
                    with _transaction(connection):
                        for statement in _SCHEMA.split(";"):
                            connection.execute(statement)
        if not _has_ends(connection):  # an earlier version has made it
            with _transaction(connection):
                if not _has_ends(connection):
                    connection.execute("ALTER TABLE forks ADD COLUMN ends_at REAL")
        # Enough for what is committed to outlive the process, and commits need not wait for the disk.
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _has_ends(connection: sqlite3.Connection) -> bool:
    """Return whether the table has its newest column."""
    return any(name == "ends_at" for _, name, *_ in connection.execute("PRAGMA table_info(forks)"))


def _is_ready(connection: sqlite3.Connection) -> bool:
    """Return whether the schema exists; False for an empty database."""
    # In one transaction: another process may be about to make it.
    with _transaction(connection, "BEGIN"):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        is_empty = connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None
    if application != _APPLICATION_ID:
        if not is_empty:
            raise UnusableError("it is another program's database")
        return False
    if version != _VERSION:
        raise UnusableError(f"it has version {version}, and this package knows version {_VERSION}")
    return True


def _set_aside(path: Path, error: sqlite3.DatabaseError) -> None:
    """Rename a damaged file, unless another process has already done so."""
    if path.name != FILE_NAME:
        # A file of any other name may have been named by mistake.
        raise UnusableError(f"{error}; remove it, if it is a ledger") from error
    with _one_process(path):
        try:
            _connect_only(path)
        except sqlite3.DatabaseError as again:
            if not is_damage(again):
                raise
            aside = f"{path.name}.damaged-{time.time_ns()}"
            for suffix in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    path.with_name(path.name + suffix).rename(path.with_name(aside + suffix))
            logger.warning(
                "the ledger of forks %s is damaged (%s): it is %s now, and a new one begun", path, error, aside
            )


def _connect_only(path: Path) -> None:
    """Raise if anything is wrong with the file."""
    with contextlib.closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as connection:
        _is_ready(connection)
        for (finding,) in connection.execute("PRAGMA quick_check(1)"):
            if finding != "ok":
                raise sqlite3.DatabaseError(finding)


def set_damaged_aside(path: Path, error: Exception) -> None:
    """Rename a file whose damage was found after it was opened, as `Store` does when it opens one."""
    assert isinstance(error, sqlite3.DatabaseError)
    with _opening:
        _set_aside(path, error)


@contextlib.contextmanager
def _one_process(path: Path) -> Generator[None, None, None]:
    """Hold a lock that only one process can have at a time."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        patience = clock.now() + PATIENCE
        while not process_locks.lock(descriptor):
            if clock.now() > patience:
                raise TimeoutError("another process has had it locked for too long")
            clock.pause(0.005)
        yield
    finally:
        os.close(descriptor)


_NETWORK: Final = ("nfs", "cifs", "smb", "9p", "fuse", "lustre", "gpfs", "beegfs", "ceph", "afs", "virtiofs")


def _is_shared_by_network(path: Path) -> bool:
    """Return whether the file may be on a network filesystem. Other machines would not share the memory of its WAL."""
    try:
        mounts = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    place = os.path.realpath(path)
    best, kind = "", ""
    for mount in mounts:
        _, point, found, *_ = mount.split(" ")
        point = point.replace("\\040", " ").rstrip("/")
        if (place.startswith(point + "/")) and len(point) >= len(best):
            best, kind = point, found
    return kind.startswith(_NETWORK)


__all__ = [
    "ANSWERED",
    "FILE_NAME",
    "STATEMENTS",
    "Operation",
    "Row",
    "Store",
    "UnusableError",
    "is_damage",
    "may_pass",
    "set_damaged_aside",
]
