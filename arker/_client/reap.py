"""Deletion of the VMs of killed programs. A part of `AsyncArker`."""

from __future__ import annotations

import arker
from arker import _lifecycle
from arker._client.base import ClientBase


class Reaping(ClientBase):
    """The home of `AsyncArker.reap`."""

    async def reap(
        self, *, older_than: float | None = None, dry_run: bool = False, deadline: float | None = None
    ) -> arker.ReapReport:
        """Delete the VMs of programs that were killed or ended with an exception.

        The ledger on this machine lists these VMs: they were forked with this client's key, at its base URLs, by
        processes that no longer exist. VMs of running programs and all other VMs are left alone.

        Args:
            older_than: Seconds. VMs forked longer ago than this are also deleted if their program ran on another
                machine with the same ledger, or on this machine before its last boot.
            dry_run: Delete nothing and only report.
            deadline: Seconds for the whole call; None for no limit. Deletions that are done by then are not undone.

        Raises:
            ConfigurationError: The ledger cannot be read.
        """
        return await _lifecycle.reap.reap(self._context, older_than=older_than, dry_run=dry_run, deadline=deadline)


__all__ = ["Reaping"]
