"""The SQL of a ledger's file: its schema, and what is done to its rows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final, TypeAlias

VERSION: Final = 1
APPLICATION_ID: Final = 0x61726B72  # "arkr"

Rows: TypeAlias = "list[tuple[Any, ...]]"
Operation: TypeAlias = "tuple[str, tuple[Any, ...], tuple[Any, ...]]"
"""The name of a statement, its last parameters, which many operations have in common, and its first ones."""
Identity: TypeAlias = "tuple[str, str, str, str]"
"""An account, a client, an owner and a host."""

# No index by client: only `release` asks for one, once in a client's life, and each fork would pay for it.
SCHEMA: Final = f"""
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
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""

STATEMENTS: Final = {
    "intend": (
        "INSERT INTO forks (idempotency_key, created_at, base_url, body, name, account, client, owner, host)"
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
    # Where an id is expected, servers take a name. One statement that compares with both takes twice the time.
    "let_go": "DELETE FROM forks WHERE vm_id = ? AND base_url = ? AND account = ?",
    "let_go_by_name": "DELETE FROM forks WHERE name = ? AND base_url = ? AND account = ?",
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

WITH_IDENTITY: Final = frozenset({"intend", "left", "lives"})
"""The statements whose last parameters are an identity."""


def _ids_by_key(rows: Rows) -> dict[str, str]:
    return {key: vm_id for vm_id, key in rows}


def _ids(rows: Rows) -> list[str]:
    return [vm_id for (vm_id,) in rows]


TOGETHER: Final[dict[str, tuple[str, Callable[[Rows], Collection[Any]]]]] = {
    "intend": (
        "WITH given AS (SELECT key, atom FROM json_each(?))"
        " INSERT INTO forks (idempotency_key, created_at, base_url, body, name, account, client, owner, host)"
        " SELECT key, atom, ?, ?, ?, ?, ?, ?, ? FROM given WHERE true"  # or else ON is one of a join
        " ON CONFLICT (idempotency_key, base_url, account, client)"
        " DO UPDATE SET given_up = given_up & 2, owner = excluded.owner, host = excluded.host",
        dict,
    ),
    "made": (
        "UPDATE forks SET vm_id = given.atom FROM json_each(?) AS given"
        " WHERE idempotency_key = given.key AND base_url = ? AND account = ?",
        _ids_by_key,
    ),
    "let_go": (
        "DELETE FROM forks WHERE vm_id IN (SELECT atom FROM json_each(?)) AND base_url = ? AND account = ?",
        _ids,
    ),
    "let_go_by_name": (
        "DELETE FROM forks WHERE name IN (SELECT atom FROM json_each(?)) AND base_url = ? AND account = ?",
        _ids,
    ),
}
"""What does the same for many operations at once that have their last parameters in common: the statement, whose first
parameter is JSON, and what makes its value of their first parameters.
"""

__all__ = [
    "APPLICATION_ID",
    "SCHEMA",
    "STATEMENTS",
    "TOGETHER",
    "VERSION",
    "WITH_IDENTITY",
    "Identity",
    "Operation",
    "Rows",
]
