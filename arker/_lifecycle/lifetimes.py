"""VMs that end at a set time: the client deletes them then, and their rows in the ledger say it to `reap`."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from arker._lifecycle.fork import delete_or_raise, forget_end
from arker._tasks import clock
from arker._tasks.cleanup import CLEANUP_SECONDS
from arker._tasks.running_loop import running_loop
from arker.errors import ArkerError

if TYPE_CHECKING:
    from arker._context import Place

logger = logging.getLogger("arker")


def set_end(place: Place, seconds: float) -> None:
    """Let a VM be deleted after some seconds, instead of at a time that was set before."""
    context = place.context
    forget_end(context, place.base_url, place.vm_id)
    context.lifetimes[place.base_url, place.vm_id] = _Lifetime(place, seconds)
    if context.ledger is not None:
        context.ledger.set_end(place.vm_id, place.base_url, clock.wall() + seconds)


class _Lifetime:
    """The end of one VM."""

    __slots__ = ("_ends_at", "_loop", "_place", "_process", "_task", "_timer")

    def __init__(self, place: Place, seconds: float) -> None:
        self._place = place
        self._process = os.getpid()
        self._task: asyncio.Task[None] | None = None
        self._ends_at = clock.now() + seconds
        self._begin(seconds)

    def _begin(self, seconds: float) -> None:
        self._loop = running_loop()
        self._timer = clock.call_later(self._loop, seconds, self._end)

    def cancel(self) -> None:
        self._timer.cancel()

    def go_on(self) -> None:
        # Each `asyncio.run` has a loop of its own, and its timers end with it. After a fork the VM is the parent's.
        if self._loop.is_closed() and self._process == os.getpid():
            self._begin(max(0.0, self._ends_at - clock.now()))

    def _end(self) -> None:
        # A loop holds its tasks weakly.
        self._task = running_loop().create_task(self._delete(), name=f"end of VM {self._place.vm_id}")

    async def _delete(self) -> None:
        place = self._place
        try:
            with place.context.cleaning_up():
                await delete_or_raise(place, deadline=CLEANUP_SECONDS)
        except ArkerError as error:
            if not place.context.transport.closed:
                logger.warning("VM %s could not be deleted at its end, and may still exist: %s", place.vm_id, error)


__all__ = ["set_end"]
