"""What `AsyncArker.reap` tells."""

from __future__ import annotations

from attrs import frozen

from arker.errors import ArkerError


@frozen(kw_only=True)
class Leftover:
    """A fork that a program left behind.

    Attributes:
        vm_id: The VM's id; None when no answer to the fork was written down, and none could be had.
        base_url: Where it was posted to.
        idempotency_key: The key that it was posted under.
        created_at: When (RFC 3339, UTC).
        error: Why it could not be dealt with.
    """

    vm_id: str | None
    base_url: str
    idempotency_key: str
    created_at: str
    error: ArkerError | None = None


@frozen(kw_only=True)
class ReapReport:
    """What `AsyncArker.reap` did, or would do.

    Attributes:
        deleted: VMs that were deleted; in a dry run, forks that would be looked at, and their VMs deleted.
        gone: VMs that were not there any more.
        failed: Forks that could not be dealt with, each with its error; they stay in the ledger. (But a fork that had
            no answer and is refused now, when the server may have forgotten its key, is beyond help and goes.)
        living: How many forks were left alone because the program that holds them goes on.
        elsewhere: How many were left alone because they belong to another machine (or to this one before it was started
            anew), where their program may go on.
        dry_run: Whether nothing was done.
    """

    deleted: tuple[Leftover, ...] = ()
    gone: tuple[Leftover, ...] = ()
    failed: tuple[Leftover, ...] = ()
    living: int = 0
    elsewhere: int = 0
    dry_run: bool = False


__all__ = ["Leftover", "ReapReport"]
