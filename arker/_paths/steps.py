"""Iterators that fetch their items step by step, with a deadline for all steps."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

from arker._paths.shell import PathShell
from arker._tasks import clock
from arker.errors import DeadlineExceededError
from arker.items import SteppedItems
from arker.models import _checks as check

T = TypeVar("T")


class Steps(SteppedItems[T]):
    """Items that come some at a time."""

    def __init__(self, shell: PathShell, deadline: float | None) -> None:
        """Begin the iteration.

        Args:
            shell: The operation.
            deadline: Seconds for all steps.
        """
        if deadline is not None:
            check.check_seconds("deadline", deadline)
        super().__init__()
        self._shell = shell
        self._deadline = deadline
        self._until: float | None = None

    async def _step(self) -> None:
        if self._deadline is None:
            await self._fetch()
            return
        if self._until is None:
            self._until = clock.now() + self._deadline
        with clock.move_on_after(max(0.0, self._until - clock.now())) as scope:
            await self._fetch()
        if scope.cancelled_caught:
            raise self._shell.progress.complete(
                DeadlineExceededError(f"the deadline of {self._deadline:g} s has passed")
            )

    def _at_hand(self) -> list[T]:
        found = [*self._found]
        self._found.clear()
        return found

    @abstractmethod
    async def _fetch(self) -> None:
        """Fetch some items, or note that there are no more."""


__all__ = ["Steps"]
