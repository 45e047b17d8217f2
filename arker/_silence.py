"""Waiting for an answer that takes as long as a command: asking now and then whether it can still come."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

from arker._cleanup import end

T = TypeVar("T")

Probe: TypeAlias = Callable[[], Awaitable[None]]
"""Asked during the silence; what it raises ends the wait."""

_ENDED: Final = "there is no use in waiting on"


class _Watch:
    """A timer that becomes a task only when the silence has lasted, since most answers come sooner."""

    __slots__ = ("_before", "_interval", "_loop", "_probe", "_questions", "_timer", "_waiting", "verdict")

    def __init__(self, probe: Probe, interval: float) -> None:
        self._loop = asyncio.get_running_loop()
        waiting = asyncio.current_task(self._loop)
        assert waiting is not None
        self._waiting = waiting
        # A task that cleans up after it was cancelled has been asked to end before.
        self._before = waiting.cancelling() if sys.version_info >= (3, 11) else 0
        self._probe = probe
        self._interval = interval
        self._questions: asyncio.Task[None] | None = None
        self.verdict: Exception | None = None
        self._timer = self._loop.call_later(interval, self._begin)

    def _begin(self) -> None:
        self._questions = self._loop.create_task(self._ask())

    async def _ask(self) -> None:
        while True:
            try:
                await self._probe()
            except Exception as error:
                self.verdict = error
                self._waiting.cancel(_ENDED)
                return
            await asyncio.sleep(self._interval)

    def stop(self) -> asyncio.Task[None] | None:
        """Ask no more; a task that is left has to be ended."""
        self._timer.cancel()
        return self._questions

    def is_ours(self, error: asyncio.CancelledError) -> bool:
        """Whether a cancellation was this object's and nobody else's; it is then no cancellation any more."""
        if self.verdict is None:
            return False
        if sys.version_info < (3, 11):
            return error.args == (_ENDED,)
        return self._waiting.uncancel() <= self._before


async def watched(answer: Awaitable[T], probe: Probe, interval: float) -> T:
    """The answer; or what the probe raises, asked after each ``interval`` seconds of silence."""
    # No cancel scope: this is on the way of every run, and a scope costs as much as all the rest of it.
    watch = _Watch(probe, interval)
    try:
        return await answer
    except asyncio.CancelledError as error:
        if not watch.is_ours(error):
            raise
    finally:
        questions = watch.stop()
        if questions is not None:
            await end(questions)
    assert watch.verdict is not None
    raise watch.verdict


__all__ = ["Probe", "watched"]
