"""What killed programs have left behind. A part of `AsyncArker`."""

from __future__ import annotations

import arker
from arker import _lifecycle
from arker._client.base import ClientBase


class Reaping(ClientBase):
    """`AsyncArker.reap`."""

    async def reap(
        self, *, older_than: float | None = None, dry_run: bool = False, deadline: float | None = None
    ) -> arker.ReapReport:
        """Delete the VMs that programs left which were killed, or which ended with an exception.

        The ledger on this machine says which these are: VMs that were forked with this client's key, at its base URLs,
        by processes that are no more. What a living program holds is left alone, and so is everything else.

        Args:
            older_than: Seconds; VMs forked longer ago than this count as left behind, too, when their program ran on
                another machine that has the same ledger, or on this one before it was started anew.
            dry_run: Only say what there is.
            deadline: Seconds for the whole call; None for no bound. What was done by then stays done.

        Raises:
            ConfigurationError: The ledger cannot be read.
        """
        return await _lifecycle.reap.reap(self._context, older_than=older_than, dry_run=dry_run, deadline=deadline)


__all__ = ["Reaping"]
