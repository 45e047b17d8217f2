"""Sandboxes that have been started before a VM needs one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from attrs import frozen

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.host.machine import Machine
from arker.emulator.sandbox.tree import Tree

IDLE: Final = 30.0
"""Seconds without a use after which all of them are let go."""
_PAUSE: Final = 0.01
"""Seconds from a use to the start of another: the VM that took one comes first."""

logger = logging.getLogger("arker.emulator")


@frozen
class Spare:
    """A sandbox in which nothing runs but its agent, on a tree without a file of any VM."""

    machine: Machine
    tree: Tree

    async def discard(self) -> None:
        await self.machine.close()
        await self.tree.remove()


class Spares:
    """The spare sandboxes of one provider. Each goes to one VM, once, and none comes back.

    One is kept to begin with. When a VM finds none ready there will be one more from then on, up to ``most``; when no
    VM has needed one for `IDLE` seconds there are none, until the next VM does.

    Args:
        make: Starts one. It raises `SandboxError` or `OSError`.
        most: How many there may be at a time; 0 for none ever.
    """

    def __init__(self, make: Callable[[], Coroutine[Any, Any, Spare]], most: int) -> None:
        self._most = most
        self._make = make
        self._coming: list[asyncio.Task[Spare]] = []
        """Ready ones, and those that are being started, oldest first."""
        self._leaving: set[asyncio.Task[None]] = set()
        self._wanted = min(1, most)
        self._timers: list[asyncio.TimerHandle] = []
        self._closed = False

    def add(self, spare: Spare) -> None:
        """Add one that has been started already. One too many is discarded."""
        if not self._most:
            self.leave(spare)
            return

        async def ready() -> Spare:
            return spare

        self._coming.append(asyncio.create_task(ready()))
        self._plan()

    async def take(self) -> Spare | None:
        """Take one, or wait for one that is being started; None when there is neither."""
        if self._closed or not self._most:
            return None
        if not any(task.done() for task in self._coming):
            self._wanted = min(self._wanted + 1, self._most)
        self._plan()
        while self._coming:
            coming = self._coming.pop(0)
            try:
                spare = await asyncio.shield(coming)
            except asyncio.CancelledError:
                if not coming.cancelled():  # the caller was cancelled
                    self._coming.insert(0, coming)
                    raise
                continue
            except (SandboxError, OSError) as error:
                logger.debug("a spare sandbox could not be started: %s", error)
                continue
            if spare.machine.alive:
                return spare
            self.leave(spare)
        return None

    def leave(self, left: Spare | Tree) -> None:
        """Discard a spare that is of no use, or what it left, in the background."""
        task = asyncio.create_task(self._discard(left))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """End every spare. From then on there are none."""
        self._closed = True
        await self.let_go()

    async def let_go(self) -> None:
        """End every spare. There will be others when a VM has needed one."""
        self._cancel_timers()
        self._let_go()
        while self._leaving:
            await asyncio.gather(*self._leaving, return_exceptions=True)

    def _plan(self) -> None:
        loop = asyncio.get_running_loop()
        self._cancel_timers()
        self._timers = [loop.call_later(_PAUSE, self._fill), loop.call_later(IDLE, self._let_go)]

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def _fill(self) -> None:
        while len(self._coming) < self._wanted:
            task = asyncio.create_task(self._make())
            task.add_done_callback(_consume)
            self._coming.append(task)

    def _let_go(self) -> None:
        self._wanted = 0
        for coming in self._coming:
            task = asyncio.create_task(self._discard_coming(coming))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        self._coming.clear()

    async def _discard_coming(self, coming: asyncio.Task[Spare]) -> None:
        with contextlib.suppress(SandboxError, OSError):
            await self._discard(await coming)

    async def _discard(self, left: Spare | Tree) -> None:
        try:
            await (left.discard() if isinstance(left, Spare) else left.remove())
        except (SandboxError, OSError) as error:
            logger.warning("a spare sandbox could not be removed: %s", error)


def _consume(task: asyncio.Task[Spare]) -> None:
    """Retrieve a failure that no VM waited for, so that asyncio does not complain about it."""
    if not task.cancelled():
        task.exception()


__all__ = ["IDLE", "Spare", "Spares"]
