"""The deletion of VMs that killed programs left behind, by the forks of dead owners in the ledger."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from attrs import evolve

from arker._lifecycle.fork import was_made_since
from arker._protocol.address import Address
from arker._protocol.calls import vms as vm_calls
from arker._tasks import clock
from arker._tasks.pools import pooled
from arker._transport.attempts import Progress, deadline_scope
from arker.errors import ArkerError, BadReplyError, ConfigurationError, InternalError, NotFoundError
from arker.models import _checks as check
from arker.reports import Leftover, ReapReport

if TYPE_CHECKING:
    from arker._context import Context
    from arker._ledger.ledger import Ledger
    from arker._ledger.store import Row

logger = logging.getLogger("arker")

AT_ONCE: Final = 16
KEY_SECONDS: Final = 24 * 3600.0
"""The least time for which servers remember a key (contract, section 3)."""
_UNKNOWN: Final = "unknown_vm"
"""The code of an error for a VM of which nothing more can be found out."""


async def reap(context: Context, *, older_than: float | None, dry_run: bool, deadline: float | None) -> ReapReport:
    """Delete the VMs of dead owners; see `AsyncArker.reap`."""
    if older_than is not None:
        check.check_seconds("older_than", older_than, allow_zero=True)
    if context.ledger is None:
        return ReapReport(dry_run=dry_run)
    with deadline_scope(deadline, Progress("reap")):
        return await _Reaping(context, context.ledger).reap(older_than, dry_run=dry_run)


class _Reaping:
    def __init__(self, context: Context, ledger: Ledger) -> None:
        self._context = context
        self._ledger = ledger
        self._deleted: list[Leftover] = []
        self._gone: list[Leftover] = []
        self._failed: list[Leftover] = []

    async def reap(self, older_than: float | None, *, dry_run: bool) -> ReapReport:
        settings = self._context.settings
        urls = (settings.base_url, settings.burst_base_url)
        base_urls = {url for url in urls if url is not None}
        try:
            found = await self._ledger.orphans(base_urls, older_than)
        except Exception as error:
            raise ConfigurationError(
                f"the ledger of forks {self._ledger.path} cannot be read: {error}", operation="reap"
            ) from error
        if dry_run:
            self._deleted = [_leftover(row) for row in found.left]
        else:
            for row in found.covered:
                self._ledger.drop(row)
            await pooled(found.left, self._undo, min(AT_ONCE, len(found.left)))
            await self._ledger.sweep()
        return ReapReport(
            deleted=tuple(self._deleted),
            gone=tuple(self._gone),
            failed=tuple(self._failed),
            living=found.living,
            elsewhere=found.elsewhere,
            dry_run=dry_run,
        )

    async def _undo(self, row: Row) -> None:
        leftover = _leftover(row)
        try:
            if row.vm_id is None:
                leftover = evolve(leftover, vm_id=await self._find(row))
                if _has_no_key_any_more(row):
                    logger.warning(
                        "a fork of %s (key %s) had no answer, and the server may have forgotten its key: if it made a"
                        " VM then, that one is still there",
                        leftover.created_at,
                        row.idempotency_key,
                    )
            assert leftover.vm_id is not None
            answer = await self._context.send(vm_calls.delete_vm(Address(row.base_url, leftover.vm_id)))
            if not answer.deleted:
                raise InternalError("the server says that the VM was not deleted", vm_id=leftover.vm_id)
        except ArkerError as error:
            # A proxy's page that says "not found" is no proof, but it is accepted for a VM that is long gone.
            # Where the repeated fork is answered so, its VM has been deleted, such as by another reap (contract-1,
            # section 4). A missing source says nothing of that VM.
            if (
                isinstance(error, NotFoundError)
                and (error.from_service or _has_no_key_any_more(row))
                and (leftover.vm_id is not None or error.details.get("resource") == "vm")
            ):
                self._gone.append(leftover)
            else:
                self._failed.append(evolve(leftover, vm_id=leftover.vm_id or error.vm_id, error=error))
                may_change = leftover.vm_id is not None or not (_is_refusal(error) or error.code == _UNKNOWN)
                if may_change or not _has_no_key_any_more(row):
                    return
        else:
            self._deleted.append(leftover)
        self._ledger.drop(row)

    async def _find(self, row: Row) -> str:
        """Find the VM of a fork whose reply was not seen, by posting the fork once more with its key.

        Raises:
            ArkerError: The outcome is unknown; the VM may exist.
        """
        if row.was_answered:
            raise _doubt(row, "its reply named no VM")
        if not row.body:
            raise _doubt(row, "its request held a secret, so it is not on record and cannot be repeated")
        call = vm_calls.fork_again(row.base_url, row.body.encode(), row.idempotency_key)
        posted_at = clock.wall()
        try:
            made = await self._context.send(call)
        except BadReplyError as error:
            if 200 <= error.status < 300:
                self._ledger.answered(call.request)
            raise
        if was_made_since(made.created_at, posted_at) and not _has_no_key_any_more(row):
            # The server does not know the key (any more), and has made another VM, which is on record until it is gone.
            self._ledger.made(call.request, made.vm_id)
            await self._take_back(row, made.vm_id)
            self._ledger.mistaken(call.request, made.vm_id)
            raise _doubt(row, "the server does not know its key")
        self._ledger.made(call.request, made.vm_id)
        return made.vm_id

    async def _take_back(self, row: Row, vm_id: str) -> None:
        """Delete a VM that only the repeated fork has made."""
        try:
            answer = await self._context.send(vm_calls.delete_vm(Address(row.base_url, vm_id)))
        except NotFoundError as error:
            if not error.from_service:
                raise
        else:
            if not answer.deleted:
                raise InternalError("the server says that the VM was not deleted", vm_id=vm_id)


def _doubt(row: Row, reason: str) -> ArkerError:
    return ArkerError(
        f"a VM of this fork may exist, under the key {row.idempotency_key}: {reason}",
        code=_UNKNOWN,
        operation="reap",
        outcome="unknown",
        idempotency_key=row.idempotency_key,
    )


def _is_refusal(error: ArkerError) -> bool:
    """Return whether the server would refuse the request again from any caller."""
    return error.status in (400, 404, 409, 413, 422, 501)


def _has_no_key_any_more(row: Row) -> bool:
    return clock.wall() - row.created_at > KEY_SECONDS


def _leftover(row: Row) -> Leftover:
    moment = datetime.fromtimestamp(row.created_at, timezone.utc)
    return Leftover(
        vm_id=row.vm_id,
        base_url=row.base_url,
        idempotency_key=row.idempotency_key,
        created_at=moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )


__all__ = ["reap"]
