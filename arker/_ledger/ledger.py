"""The ledger of forks: records that survive when a program is killed.

A fork is written down before it is posted, with all that a repeated post needs. Its row is removed when its VM is
deleted or kept on purpose. A failure of the ledger fails no fork: it is logged once, and the fork goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from arker._ledger import process_locks
from arker._ledger.writer import AT_ONCE, LATER, SOON, Writer
from arker._tasks import clock
from arker._tasks.running_loop import running_loop
from arker._tasks.threads import finished_in_thread

if TYPE_CHECKING:
    from arker._ledger.store import Row
    from arker._protocol.request import Request


@frozen
class Orphans:
    """The forks of one account, by the state of their owners.

    Attributes:
        left: Forks whose owner is dead, and those whose VM should have been deleted by now.
        covered: Those of them whose VM a live program holds as well.
        living: The number of forks with a live owner, or with a VM whose set time has not come.
        elsewhere: The number of forks with an owner on another machine, whose state is unknown.
    """

    left: list[Row]
    covered: list[Row]
    living: int
    elsewhere: int


class Ledger:
    """A client's part in a ledger file.

    Its methods may be called from any thread; ``await`` binds none to a loop.
    """

    def __init__(self, path: Path, api_key: str) -> None:
        """Make a ledger. It reads and writes nothing before the first record.

        Args:
            path: The file.
            api_key: Distinguishes accounts; it is not kept, and only a digest is written.
        """
        self.path = path
        self.account = _fingerprint(api_key)
        self._writer = Writer(path, self.account)

    # --- what is written down ---------------------------------------------------------------------------------------

    def intend(self, request: Request, name: str | None) -> asyncio.Future[None]:
        """Record a fork before it is posted. Returns when it is on disk (or cannot be).

        Args:
            request: The request, with its key and body. A body that holds a secret is not written down.
            name: The name of the new VM.
        """
        writer = self._writer
        writer.used = True
        body = request.body.decode() if request.body is not None and not request.private else ""
        # The rest of the row's values are added by the thread.
        operation = ("intend", (request.base_url, body, name), (request.idempotency_key, clock.wall()))
        return writer.put_and_wait(operation, running_loop())

    def made(self, request: Request, vm_id: str) -> None:
        """Record the VM of an answered fork."""
        self._writer.put(("made", (request.base_url, self.account), (vm_id, request.idempotency_key)), SOON)

    def answered(self, request: Request) -> None:
        """Record a fork whose successful reply names no VM. It must not be posted again."""
        self._writer.put(("answered", (), (request.idempotency_key, request.base_url, self.account)), AT_ONCE)

    def mistaken(self, request: Request, vm_id: str) -> None:
        """Record that the VM given to `made` was another one, and is gone.

        The fork is as if `answered`.
        """
        self._writer.put(("mistaken", (), (request.idempotency_key, request.base_url, self.account, vm_id)), AT_ONCE)

    def forget(self, request: Request) -> None:
        """Remove a fork that surely did not take place (unless it had been answered before)."""
        self._writer.put(("forget", (), (request.idempotency_key, request.base_url, self.account, self._writer.client)))

    def undone(self, request: Request) -> None:
        """Remove a fork whose VM, if there was one, is gone."""
        self._writer.put(("drop", (), (request.idempotency_key, request.base_url, self.account, self._writer.client)))

    def let_go(self, vm_id: str, base_url: str, *, at_once: bool = False) -> None:
        """Remove the records of a VM that was deleted or is kept on purpose, whichever program made it.

        Args:
            vm_id: The VM's id.
            base_url: Its base URL.
            at_once: Whether to write it soon, since a kept VM must not look like one left behind.
        """
        writer = self._writer
        if writer.used or writer.may_have_rows():
            writer.put(("let_go", (base_url, self.account), (vm_id,)), AT_ONCE if at_once else LATER)

    def set_end(self, vm_id: str, base_url: str, ends_at: float) -> None:
        """Record when a VM is to be deleted, whichever program made it."""
        self._writer.used = True
        self._writer.put(("ends", (), (ends_at, base_url, self.account, vm_id, vm_id)), SOON)
        # No fork has such a key: see `left`.
        self._writer.put(("lives", (), (f"vm {vm_id}", base_url, vm_id, clock.wall(), ends_at)), SOON)

    def give_up(self, vm_id: str, base_url: str) -> None:
        """Record that a VM could not be deleted, so that `release` does not apply to it."""
        if self._writer.may_have_rows():
            self._writer.put(("give_up", (), (clock.wall(), base_url, self.account, vm_id, vm_id)))

    def left(self, vm_id: str, base_url: str) -> None:
        """Record again a VM that was to be deleted at its client's close, after all rows had been released."""
        self._writer.used = True
        self.give_up(vm_id, base_url)
        # No fork has such a key: the row has the id, which is all that is asked for.
        self._writer.put(("left", (), (f"vm {vm_id}", base_url, vm_id, clock.wall())), AT_ONCE)

    def drop(self, row: Row) -> None:
        """Remove the record of a leftover fork that was handled."""
        self._writer.put(("drop", (), (row.idempotency_key, row.base_url, self.account, row.client)))

    async def aclose(self, *, release: bool) -> None:
        """Write all pending records, and end the thread. It starts again if more records come.

        Args:
            release: The client has finished its work, so its remaining VMs are kept on purpose. Otherwise they
                belong to this process until it ends, and then have no owner.
        """
        self.end(release=release)
        await self._writer.flush()

    def end(self, *, release: bool) -> None:
        """Close the ledger without waiting: the thread, or the interpreter's exit, writes the pending records."""
        if release and self._writer.used:
            self._writer.put(("release", (), (self._writer.client,)))
        self._writer.end(release=release)

    async def flush(self) -> None:
        """Wait until all records are on disk (or cannot be)."""
        await self._writer.flush()

    async def is_written(self) -> bool:
        """Return whether all records so far are on disk."""
        await self._writer.flush()
        return self._writer.works

    # --- what is read -----------------------------------------------------------------------------------------------

    async def orphans(self, base_urls: Collection[str], older_than: float | None) -> Orphans:
        """Return the forks of this account that are left.

        Args:
            base_urls: Only those that were posted to one of these.
            older_than: Age in seconds; older forks of other machines count as left behind.

        Raises:
            Exception: The file cannot be read.
        """
        await self.flush()
        return await finished_in_thread(self._orphans, frozenset(base_urls), older_than)

    def _orphans(self, base_urls: frozenset[str], older_than: float | None) -> Orphans:
        if not self.path.exists():
            return Orphans([], [], 0, 0)
        here = process_locks.this_host()
        directory, before = self.path.parent, clock.wall() - (older_than or 0.0)

        def read() -> list[Row]:
            rows = self._writer.read(lambda store: store.rows(self.account))
            return [row for row in rows if row.base_url in base_urls]

        is_alive = {row.owner: process_locks.lives(directory, row.owner) for row in read() if row.host == here}
        # Read once more: an owner that has come to an orderly end may have released its rows just before.
        rows = read()
        living: list[Row] = []
        elsewhere: list[Row] = []
        left: list[Row] = []
        over: list[Row] = []
        now = clock.wall()
        for row in rows:
            if row.ends_at is not None:
                (over if row.ends_at <= now else living).append(row)
            elif row.host == here:
                (living if is_alive.get(row.owner, True) else left).append(row)
            else:
                (left if older_than is not None and row.created_at < before else elsewhere).append(row)
        keys = {(row.base_url, row.idempotency_key) for row in (*living, *elsewhere)}
        ids = {(row.base_url, row.vm_id) for row in (*living, *elsewhere) if row.vm_id is not None}

        def is_held(row: Row) -> bool:
            return (row.base_url, row.idempotency_key) in keys or (row.base_url, row.vm_id) in ids

        covered = [row for row in left if is_held(row)]
        return Orphans([*over, *[row for row in left if not is_held(row)]], covered, len(living), len(elsewhere))

    async def sweep(self) -> None:
        """Remove the lock files of dead owners that have no rows in the ledger."""
        await self.flush()
        await finished_in_thread(self._sweep)

    def _sweep(self) -> None:
        if self.path.exists():
            process_locks.sweep(self.path.parent, self._writer.read(lambda store: store.owners()))


def _fingerprint(api_key: str) -> str:
    # The hash functions take long to import.
    return sha256(b"arker ledger account\0" + api_key.encode()).hexdigest()[:16]


__all__ = ["Ledger", "Orphans"]
