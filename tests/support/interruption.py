"""Cancelling an operation at its n-th suspension, in whichever of its tasks that is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


class Interruption(Generic[T]):
    """An operation that is cancelled once, at one of its suspensions; those of the tasks that it starts count too.

    Attributes:
        suspensions: How many there were.
        result: What the operation gave, if it came to its end.
    """

    def __init__(self, at: int) -> None:
        self._at = at
        self._main: asyncio.Task[T] | None = None
        self._generators: list[AsyncGenerator[Any, Any]] = []
        self.suspensions = 0
        self.result: T | None = None

    @property
    def unfinished(self) -> list[AsyncGenerator[Any, Any]]:
        """Async generators that were begun and not ended: the loop ends them in new tasks when garbage is collected."""
        return [generator for generator in self._generators if cast("Any", generator).ag_frame is not None]

    @property
    def happened(self) -> bool:
        """Whether the operation lasted until the suspension at which it was to be cancelled."""
        return self.suspensions >= self._at

    async def of(self, operation: Callable[[], Awaitable[T]]) -> bool:
        """Carry out an operation; whether it ended by the cancellation."""
        loop = asyncio.get_running_loop()

        def factory(
            loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **rest: Any
        ) -> asyncio.Task[Any]:
            return asyncio.Task(self._counted(work), loop=loop, **rest)

        async def whole() -> T:
            return await operation()

        def begun(generator: AsyncGenerator[Any, Any]) -> None:
            self._generators.append(generator)
            if hooks.firstiter is not None:
                hooks.firstiter(generator)

        before, hooks = loop.get_task_factory(), sys.get_asyncgen_hooks()
        loop.set_task_factory(factory)
        sys.set_asyncgen_hooks(firstiter=begun)
        try:
            self._main = loop.create_task(whole())
            await asyncio.wait({self._main})
        finally:
            loop.set_task_factory(before)
            sys.set_asyncgen_hooks(*hooks)
        if self._main.cancelled():
            return True
        self.result = self._main.result()
        return False

    def _counted(self, work: Coroutine[Any, Any, Any] | Generator[Any, None, Any]) -> Coroutine[Any, Any, Any]:
        async def run() -> Any:
            return await _Steps(work, self._suspended)

        return run()

    def _suspended(self) -> None:
        self.suspensions += 1
        if self.suspensions == self._at and self._main is not None:
            self._main.cancel()


class _Steps:
    """Drives a coroutine, and tells when it suspends."""

    def __init__(
        self, work: Coroutine[Any, Any, Any] | Generator[Any, None, Any], suspended: Callable[[], None]
    ) -> None:
        self._work = work
        self._suspended = suspended

    def __await__(self) -> Generator[Any, Any, Any]:
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                future = self._work.send(value) if error is None else self._work.throw(error)
            except StopIteration as end:
                return end.value
            self._suspended()
            value = error = None
            try:
                value = yield future
            except BaseException as thrown:
                error = thrown


__all__ = ["Interruption"]
