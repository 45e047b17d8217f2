"""Which functions have a VM of a fleet, and which wait for another one: if all of them do, none can go on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, Final

from arker.errors import ConfigurationError

_around: Final[ContextVar[tuple[object, ...]]] = ContextVar("arker_fleet_loans", default=())
"""The loans, of any fleet, to whose functions the running code belongs. Tasks that it begins inherit them."""

_STUCK: Final = (
    "each VM of the fleet has an item whose function waits for a VM of the same fleet: use the VM that the function is "
    "given, or another fleet"
)


class Loans:
    """The VMs that functions have, and the functions that wait for a VM beside their own.

    A function that has begun such work without waiting for its end counts as waiting, too.
    """

    def __init__(self) -> None:
        """Make none yet."""
        self._of_vms: dict[object, object] = {}
        self._waits: dict[asyncio.Future[Any], tuple[object, ...]] = {}

    def begin(self, vm: object) -> Token[tuple[object, ...]]:
        """Note that what the caller calls, and what that begins, belongs to the item that has the VM."""
        loan = object()  # a VM has many, one after the other, and what an earlier item has begun may still go on
        self._of_vms[vm] = loan
        return _around.set((*_around.get(), loan))

    def end(self, vm: object, token: Token[tuple[object, ...]]) -> None:
        """Note that the item's function has ended, by what `begin` returned."""
        _around.reset(token)
        del self._of_vms[vm]

    @contextmanager
    def waiting(self, future: asyncio.Future[Any]) -> Generator[None, None, None]:
        """Note that the running code waits for the VM that the future will have."""
        around = _around.get()
        if around:
            self._waits[future] = around
        try:
            yield
        finally:
            self._waits.pop(future, None)

    def refuse_stuck(self, vms: Collection[object]) -> None:
        """End waits with a `ConfigurationError`, the newest first, as long as every VM is kept by one.

        Args:
            vms: The VMs of the fleet, none of which is free.
        """
        waits = {future: loans for future, loans in self._waits.items() if not future.done()}
        while waits and vms:
            kept = {loan for loans in waits.values() for loan in loans}
            if not all(self._of_vms.get(vm) in kept for vm in vms):
                return
            future, _ = waits.popitem()
            future.set_exception(ConfigurationError(_STUCK))


__all__ = ["Loans"]
