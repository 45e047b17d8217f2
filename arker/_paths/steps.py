"""Iterators that fetch their items step by step, with a deadline for all steps."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from arker._basics.typing import Self
from arker._paths.shell import PathShell
from arker._tasks import clock
from arker.errors import DeadlineExceededError
from arker.models import _checks as check

T = TypeVar("T")


class Steps(AsyncIterator[T], Generic[T]):
    """Items that come some at a time."""

    def __init__(self, shell: PathShell, deadline: float | None) -> None:
        """Begin the iteration.

        Args:
            shell: The operation.
            deadline: Seconds for all steps.
        """
        if deadline is not None:
            check.check_seconds("deadline", deadline)
        self._shell = shell
        self._deadline = deadline
        self._until: float | None = None
        self._found: deque[T] = deque()
        self._over = self._busy = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._busy:
            raise RuntimeError("the next item is being asked for by another caller")
        while not self._found:
            if self._over:
                raise StopAsyncIteration
            self._busy = True
            try:
                await self._bounded_step()
            finally:
                self._busy = False
        return self._found.popleft()

    async def _bounded_step(self) -> None:
        # No scope around all steps: each may be one of a task of its own.
        if self._deadline is None:
            await self._step()
            return
        if self._until is None:
            self._until = clock.now() + self._deadline
        with clock.move_on_after(max(0.0, self._until - clock.now())) as scope:
            await self._step()
        if scope.cancelled_caught:
            raise self._shell.progress.complete(
                DeadlineExceededError(f"the deadline of {self._deadline:g} s has passed")
            )

    @abstractmethod
    async def _step(self) -> None:
        """Fetch some items, or note that there are no more."""


__all__ = ["Steps"]
