"""The ledger's file: a SQLite database shared by processes. The only module that imports sqlite3."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

import orjson
from attrs import frozen

from arker._ledger import process_locks
from arker._ledger.statements import (
    APPLICATION_ID,
    SCHEMA,
    STATEMENTS,
    TOGETHER,
    VERSION,
    WITH_IDENTITY,
    Identity,
    Operation,
    Rows,
)
from arker._tasks import clock

logger = logging.getLogger("arker")

FILE_NAME: Final = "ledger.sqlite3"
PATIENCE: Final = 2.0
"""Seconds to wait for another process that has the file locked."""

MANY: Final = 16
"""The least number of operations that one statement together is quicker for than one for each."""

ANSWERED: Final = 2
"""A bit of a row's ``given_up``: the fork was answered with success. (A separate column would need a new version.)"""

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
        self._file = os.stat(path)

    def is_in_place(self) -> bool:
        """Return whether the path still leads to the open file, which may have been removed or set aside."""
        try:
            return os.path.samestat(self._file, os.stat(self.path))
        except OSError:
            return False

    def apply(self, operations: Iterable[Operation], identity: Callable[[], Identity]) -> None:
        """Apply all the operations, or none.

        Args:
            operations: The operations. Those that make rows lack the last parameters, the identity.
            identity: Returns it; called if there are such operations.
        """
        with _transaction(self._connection):
            for (name, common), group in groupby(operations, itemgetter(0, 1)):
                rows = list(map(itemgetter(2), group))
                last = (*common, *identity()) if name in WITH_IDENTITY else common
                self._execute(name, rows, last)
                if name == "let_go" and self._has_names():
                    self._execute("let_go_by_name", rows, last)

    def _execute(self, name: str, rows: Rows, last: tuple[str | None, ...]) -> None:
        """Execute a statement for each row of first parameters."""
        if len(rows) >= MANY and name in TOGETHER and _reads_json():
            statement, together = TOGETHER[name]
            value = together(rows)
            text = orjson.dumps(value).decode()
            # SQLite ends a string of JSON at a null character. The first of two equal keys counts for some statements.
            if len(value) == len(rows) and "\\u0000" not in text:
                self._connection.execute(statement, (text, *last))
                return
        self._connection.executemany(STATEMENTS[name], [(*row, *last) for row in rows])

    def _has_names(self) -> bool:
        return self._connection.execute("SELECT 1 FROM forks WHERE name IS NOT NULL LIMIT 1").fetchone() is not None

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


@functools.cache
def _reads_json() -> bool:
    """Return whether SQLite has the table of a JSON value's members, and updates from another table."""
    if sqlite3.sqlite_version_info < (3, 33):
        return False
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("SELECT 1 FROM json_each('[]')")
        except sqlite3.OperationalError:
            return False
    return True


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
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            # SQLite would let others read it, and gives the files beside it the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        made_by = _made_by(connection)
        if not made_by:
            with _one_process(path):
                made_by = _made_by(connection) or SCHEMA
                if made_by is SCHEMA:
                    if not _is_shared_by_network(path):
                        connection.execute("PRAGMA journal_mode = WAL")
                    with _transaction(connection):
                        for statement in SCHEMA.split(";"):
                            connection.execute(statement)
        if "ends_at" not in made_by or "forks_by_client" in made_by:  # an earlier version has made it
            with _transaction(connection):
                if "ends_at" not in _statements(connection):
                    connection.execute("ALTER TABLE forks ADD COLUMN ends_at REAL")
                connection.execute("DROP INDEX IF EXISTS forks_by_client")
        # Enough for what is committed to outlive the process, and commits need not wait for the disk.
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _made_by(connection: sqlite3.Connection) -> str:
    """Return the statements that have made the table and its indexes; none for an empty database."""
    # In one transaction: another process may be about to make it.
    with _transaction(connection, "BEGIN"):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        statements = _statements(connection)
    if application != APPLICATION_ID:
        if statements:
            raise UnusableError("it is another program's database")
        return ""
    if version != VERSION:
        raise UnusableError(f"it has version {version}, and this package knows version {VERSION}")
    return statements


def _statements(connection: sqlite3.Connection) -> str:
    return "".join(f"{sql};" for (sql,) in connection.execute("SELECT sql FROM sqlite_master"))


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
        _made_by(connection)
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
    "MANY",
    "Row",
    "Store",
    "UnusableError",
    "is_damage",
    "may_pass",
    "set_damaged_aside",
]
