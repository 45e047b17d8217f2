"""Whether a VM of a fleet still exists after work in it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._fleets.schedule import verdict
from arker._protocol.calls import vms as vm_calls
from arker._runs.poll import ASK_SECONDS
from arker._vm.base import place_of
from arker.errors import ArkerError, NotFoundError

if TYPE_CHECKING:
    from arker._context import Context
    from arker.vm import AsyncVM


async def has_died(context: Context, vm: AsyncVM, error: Exception | None) -> bool:
    """Return whether a VM in which a run or a function has failed is gone. In doubt the server is asked."""
    doubt = place_of(vm).doubt.take() or error is None
    what = "lives" if error is None else verdict(error, vm.id)
    if what == "perhaps" or (what == "lives" and doubt):
        try:
            await context.send(vm_calls.get_vm(place_of(vm)), deadline=ASK_SECONDS)
        except NotFoundError:
            return True
        except ArkerError:
            return False
    return what == "gone"


__all__ = ["has_died"]
