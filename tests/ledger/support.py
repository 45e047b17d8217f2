"""Ledgers by themselves, what is in their files, and programs that use them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from arker._ledger.ledger import Ledger
from arker._protocol.identifiers import new_idempotency_key
from arker._protocol.request import Request
from tests.support.forked import Forked

ROOT: Final = Path(__file__).parents[2]
HOST: Final = "http://host.example/api"
BODY: Final = b'{"source_vm_name":"ubuntu","source_org_id":"ArkerHQ"}'


def fork_request(key: str | None = None, *, base_url: str = HOST) -> Request:
    return Request("POST", base_url, "/v1/fork", body=BODY, idempotency_key=key or new_idempotency_key())


async def write_down(ledger: Ledger, *vm_ids: str, base_url: str = HOST) -> list[Request]:
    """Record forks that were answered with these ids, as far as a ledger can tell."""
    requests: list[Request] = []
    for vm_id in vm_ids:
        request = fork_request(base_url=base_url)
        await ledger.intend(request, None)
        ledger.made(request, vm_id)
        requests.append(request)
    await ledger.flush()
    return requests


def select(path: Path, columns: str = "vm_id") -> list[Any]:
    """Return a column of all rows in order of time, or several as tuples; nothing if there are no rows yet."""
    if not path.is_file():
        return []
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        if connection.execute("PRAGMA user_version").fetchone() == (0,):
            return []
        rows = connection.execute(f"SELECT {columns} FROM forks ORDER BY created_at").fetchall()
    return rows if "," in columns else [value for (value,) in rows]


def listing(directory: Path, pattern: str = "*") -> list[Path]:
    return sorted(directory.glob(pattern))


def bytes_of(directory: Path) -> bytes:
    """Return the content of a directory. No ledger in it may be open in this process."""
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


def output(process: Forked) -> str:
    """Return a program's output until its end. The program must succeed."""
    said: str = process.communicate()[0]
    assert process.returncode == 0, process.returncode
    return said


def line(process: Forked) -> str:
    """Return the next line of a program's output."""
    assert process.stdout is not None
    said: str = process.stdout.readline()
    assert said, "the program has ended"
    return said.strip()
