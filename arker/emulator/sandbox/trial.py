"""A trial of what a machine can do: a success is remembered, a failure only for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

AGAIN: Final = 60.0
"""Seconds after a failure before the next trial. It may have been for lack of something that is there again."""


class Trial:
    """A trial that takes place when its result is first asked for."""

    def __init__(self, attempt: Callable[[], Awaitable[bool]], *, again: float = AGAIN) -> None:
        """Prepare the trial.

        Args:
            attempt: Tries it out; returns whether it works.
            again: Seconds after a failure before it is tried again.
        """
        self._attempt = attempt
        self._again = again
        self._going: asyncio.Future[tuple[bool, float]] | None = None

    async def works(self) -> bool:
        """Return whether it works, as far as is known."""
        going = self._going
        if going is None or (going.done() and self._is_outdated(going)):
            going = self._going = asyncio.ensure_future(self._try())
        return (await asyncio.shield(going))[0]

    def _is_outdated(self, done: asyncio.Future[tuple[bool, float]]) -> bool:
        if done.cancelled() or done.exception() is not None:
            return True
        works, ended = done.result()
        return not works and asyncio.get_running_loop().time() - ended >= self._again

    async def _try(self) -> tuple[bool, float]:
        works = await self._attempt()
        return works, asyncio.get_running_loop().time()


__all__ = ["AGAIN", "Trial"]
