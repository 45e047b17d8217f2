"""What a caller is told of a fleet's VMs that could not be deleted."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Final

from arker._tasks import hurry
from arker.errors import ArkerError, FleetError

if TYPE_CHECKING:
    from arker.vm import AsyncVM

logger = logging.getLogger("arker")

_SHOWN: Final = 20


def tell_of_left(left: Mapping[AsyncVM, ArkerError | None], error: BaseException | None) -> None:
    """Log the VMs that could not be deleted. Add them to a `FleetError`, or raise one if there is no error.

    Args:
        left: The VMs, with the errors of their deletions.
        error: The error with which the fleet's block is left.
    """
    if not left:
        return
    ids = [vm.id for vm in left]
    if not hurry.asked():  # else each is named already
        reasons = [reason for reason in left.values() if reason is not None]
        why = f"; the first: {reasons[0]}" if reasons else ""
        # Logged even if it is also raised: a caller that was cancelled gets only the cancellation.
        logger.warning("%d VMs of a fleet could not be deleted and may still exist: %s%s", len(left), named(left), why)
        if error is None:
            raise FleetError(
                f"{len(ids)} VMs could not be deleted and may still exist: {named(left)}{why}",
                errors=reasons,
                vm_ids=ids,
                operation="fleet.delete",
                outcome="unknown",
            )
    if isinstance(error, FleetError):
        error.vm_ids, error.outcome = tuple(ids), "unknown"


def named(vms: Collection[AsyncVM]) -> str:
    """Return the ids of VMs; only the first ones if there are many."""
    return ", ".join(vm.id for vm in islice(vms, _SHOWN)) + (", …" if len(vms) > _SHOWN else "")


__all__ = ["named", "tell_of_left"]
