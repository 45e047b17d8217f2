"""Waits of equal length with one timer for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from arker._tasks import clock

K = TypeVar("K")


class Round(Generic[K]):
    """The waits of one loop with the same length, most of which end before they are over.

    With a timer for each of them, setting and cancelling it would take longer than all else that is done for a wait.

    Attributes:
        due: When each wait is over, by `clock.now`. Remove those that end before.
    """

    __slots__ = ("_is_armed", "_loop", "_over", "_seconds", "due")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, over: Callable[[K], object]) -> None:
        """Begin with none.

        Args:
            loop: The loop.
            seconds: The length of each wait.
            over: Called with each wait that is over.
        """
        self.due: dict[K, float] = {}
        self._seconds = seconds
        self._over = over
        self._is_armed = False
        self._loop = loop

    def add(self, wait: K) -> None:
        """Begin a wait."""
        self.due[wait] = clock.now() + self._seconds
        if not self._is_armed:
            self._arm(self._seconds)

    def _arm(self, seconds: float) -> None:
        self._is_armed = True
        # Not the loop's own timer: set where a test has replaced the loop's clock, it may never ring afterwards either.
        clock.call_later(self._loop, seconds, self._ring)

    def _ring(self) -> None:
        self._is_armed = False
        now = clock.now()
        for wait in [wait for wait, due in self.due.items() if due <= now]:
            self.due.pop(wait, None)
            self._over(wait)
        if self.due:
            self._arm(max(0.0, min(self.due.values()) - now))


__all__ = ["Round"]
