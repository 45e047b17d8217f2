"""The ledger of forks: what a program must not forget although it is killed.

A fork is written down before it is posted, with all that it takes to post it again, and its row goes when its VM is
deleted or meant to stay. Nothing that goes wrong here fails a fork: it is logged once, and the fork goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
from attrs import frozen

from arker._ledger import process_locks
from arker._ledger.writer import Writer

if TYPE_CHECKING:
    from arker._ledger.store import Row
    from arker._protocol.request import Request


@frozen
class Orphans:
    """What a ledger knows of the forks of one account.

    Attributes:
        left: Forks whose owner is dead.
        covered: Those of them whose VM another program, that lives, holds as well.
        living: How many have an owner that lives.
        elsewhere: How many have an owner on another machine, of which nothing can be said.
    """

    left: list[Row]
    covered: list[Row]
    living: int
    elsewhere: int


class Ledger:
    """A client's part in a ledger file. Its methods may be called from any thread; ``await`` binds none to a loop."""

    def __init__(self, path: Path, api_key: str) -> None:
        """Make one; nothing is read or written before there is something to write.

        Args:
            path: The file.
            api_key: Tells accounts apart; it is not kept, and only a digest is written.
        """
        self.path = path
        self.account = _fingerprint(api_key)
        self._writer = Writer(path, self.account)

    # --- what is written down ---------------------------------------------------------------------------------------

    def intend(self, request: Request, name: str | None) -> asyncio.Future[None]:
        """A fork is about to be posted: done when that is on record (or cannot be).

        Args:
            request: The request, with its key and body.
            name: The name that the VM is to have.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        body = request.body.decode() if request.body is not None else ""
        # The rest of the row's values are added by the thread.
        operation = ("intend", (request.idempotency_key, request.base_url, body, name, time.time()))
        self._writer.used = True
        self._writer.put(operation, loop, future)
        return future

    def made(self, request: Request, vm_id: str) -> None:
        """A fork was answered."""
        self._writer.put(("made", (vm_id, request.idempotency_key, request.base_url, self.account)), soon=True)

    def answered(self, request: Request) -> None:
        """Note that a fork was answered with success, but that the answer names no VM: it is not to be posted again."""
        self._writer.put(("answered", (request.idempotency_key, request.base_url, self.account)), at_once=True)

    def mistaken(self, request: Request, vm_id: str) -> None:
        """Note that a VM which `made` has named was another one, and is gone: the fork is as if `answered`."""
        self._writer.put(("mistaken", (request.idempotency_key, request.base_url, self.account, vm_id)), at_once=True)

    def forget(self, request: Request) -> None:
        """A fork has surely not taken place (unless it was one that had been answered before)."""
        self._writer.put(("forget", (request.idempotency_key, request.base_url, self.account, self._writer.client)))

    def undone(self, request: Request) -> None:
        """A fork's VM, if there was one, is gone."""
        self._writer.put(("drop", (request.idempotency_key, request.base_url, self.account, self._writer.client)))

    def let_go(self, vm_id: str, base_url: str, *, at_once: bool = False) -> None:
        """A VM was deleted, or is to stay, by whichever program it was made.

        Args:
            vm_id: The VM.
            base_url: Where it is.
            at_once: Whether that must be on record soon, since a VM that is to stay must not look left behind.
        """
        if self._writer.may_have_rows():
            self._writer.put(("let_go", (base_url, self.account, vm_id, vm_id)), at_once=at_once)

    def give_up(self, vm_id: str, base_url: str) -> None:
        """A VM was to be deleted, but could not be: it is not one that `release` is meant for."""
        if self._writer.may_have_rows():
            self._writer.put(("give_up", (base_url, self.account, vm_id, vm_id)))

    def left(self, vm_id: str, base_url: str) -> None:
        """Note that a VM was to be deleted when its client was closed, which had released its row with the others."""
        self._writer.used = True
        # No fork has such a key: the row has the id, which is all that is asked for.
        self._writer.put(("left", (f"vm {vm_id}", base_url, vm_id, time.time())), at_once=True)

    def drop(self, row: Row) -> None:
        """What was left behind is dealt with."""
        self._writer.put(("drop", (row.idempotency_key, row.base_url, self.account, row.client)))

    async def aclose(self, *, release: bool) -> None:
        """Write all that is left to write, and end the thread. Should more come later, it starts again.

        Args:
            release: The client has done its work, so that VMs that are still there are meant to stay. Otherwise they
                are this process's until it ends, and then nobody's.
        """
        self.end(release=release)
        await self._writer.flush()

    def end(self, *, release: bool) -> None:
        """`aclose` for a caller who cannot wait: the thread writes what is left, or the interpreter's exit does."""
        if release and self._writer.used:
            self._writer.put(("release", (self._writer.client,)))
        self._writer.end(release=release)

    async def flush(self) -> None:
        """Wait until everything is on record (or cannot be)."""
        await self._writer.flush()

    # --- what is read -----------------------------------------------------------------------------------------------

    async def orphans(self, base_urls: Collection[str], older_than: float | None) -> Orphans:
        """What is left of forks of this account.

        Args:
            base_urls: Only those that were posted to one of these.
            older_than: Seconds; forks of other machines that are older count as left behind.

        Raises:
            Exception: The file cannot be read.
        """
        await self.flush()
        return await anyio.to_thread.run_sync(self._orphans, frozenset(base_urls), older_than)

    def _orphans(self, base_urls: frozenset[str], older_than: float | None) -> Orphans:
        if not self.path.exists():
            return Orphans([], [], 0, 0)
        here = process_locks.this_host()
        directory, before = self.path.parent, time.time() - (older_than or 0.0)

        def read() -> list[Row]:
            rows = self._writer.read(lambda store: store.rows(self.account))
            return [row for row in rows if row.base_url in base_urls]

        is_alive = {row.owner: process_locks.lives(directory, row.owner) for row in read() if row.host == here}
        # Read once more: an owner that has come to an orderly end may have released its rows just before.
        rows = read()
        living: list[Row] = []
        elsewhere: list[Row] = []
        left: list[Row] = []
        for row in rows:
            if row.host == here:
                (living if is_alive.get(row.owner, True) else left).append(row)
            else:
                (left if older_than is not None and row.created_at < before else elsewhere).append(row)
        keys = {(row.base_url, row.idempotency_key) for row in (*living, *elsewhere)}
        ids = {(row.base_url, row.vm_id) for row in (*living, *elsewhere) if row.vm_id is not None}

        def is_held(row: Row) -> bool:
            return (row.base_url, row.idempotency_key) in keys or (row.base_url, row.vm_id) in ids

        covered = [row for row in left if is_held(row)]
        return Orphans([row for row in left if not is_held(row)], covered, len(living), len(elsewhere))

    async def sweep(self) -> None:
        """Remove what dead owners left beside the file, where they left nothing in it."""
        await self.flush()
        await anyio.to_thread.run_sync(self._sweep)

    def _sweep(self) -> None:
        if self.path.exists():
            process_locks.sweep(self.path.parent, self._writer.read(lambda store: store.owners()))


def _fingerprint(api_key: str) -> str:
    # The hash functions take long to import.
    return sha256(b"arker ledger account\0" + api_key.encode()).hexdigest()[:16]


__all__ = ["Ledger", "Orphans"]
