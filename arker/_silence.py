"""Waiting for an answer that takes as long as a command: asking now and then whether it can still come."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

from arker._cleanup import end
from arker._wire import Flow

T = TypeVar("T")

Probe: TypeAlias = Callable[[], Awaitable[None]]
"""Asked during the silence; what it raises ends the wait."""

_ENDED: Final = "there is no use in waiting on"


class _Watch:
    """A timer that becomes a task only when the silence has lasted, since most answers come sooner."""

    __slots__ = (
        "_before",
        "_flow",
        "_interval",
        "_loop",
        "_others",
        "_probe",
        "_questions",
        "_timer",
        "_waiting",
        "verdict",
    )

    def __init__(self, probe: Probe, interval: float, flow: Flow) -> None:
        self._loop = asyncio.get_running_loop()
        waiting = asyncio.current_task(self._loop)
        assert waiting is not None
        self._waiting = waiting
        self._before = 0
        if sys.version_info >= (3, 11):
            self._before = waiting.cancelling()  # a task that cleans up after it was cancelled was asked to end before
        self._probe = probe
        self._interval = interval
        self._flow = flow
        self._questions: asyncio.Task[None] | None = None
        self._others = False
        self.verdict: Exception | None = None
        self._timer = self._loop.call_later(interval, self._begin)

    def _begin(self) -> None:
        self._questions = self._loop.create_task(self._ask())

    async def _ask(self) -> None:
        passed = 0
        while True:
            # A large body may take its time, and is no silence.
            before, passed = passed, self._flow.passed()
            if passed == before:
                try:
                    await self._probe()
                except Exception as error:
                    self.verdict = error
                    if sys.version_info < (3, 11):
                        # Before the task goes on, which is the last moment at which this can be seen.
                        self._loop.call_soon(self._note_others)
                    self._waiting.cancel(_ENDED)
                    return
            await asyncio.sleep(self._interval)

    def _note_others(self) -> None:
        self._others = bool(getattr(self._waiting, "_must_cancel", False))

    def stop(self) -> asyncio.Task[None] | None:
        """Ask no more; a task that is left has to be ended."""
        self._timer.cancel()
        return self._questions

    def is_ours(self, error: asyncio.CancelledError) -> bool:
        """Whether a cancellation was this object's and nobody else's; it is then no cancellation any more."""
        if self.verdict is None:
            return False
        if sys.version_info < (3, 11):
            return error.args == (_ENDED,) and not self._others
        return self._waiting.uncancel() <= self._before


async def watched(answer: Awaitable[T], probe: Probe, interval: float, flow: Flow) -> T:
    """The answer; or what the probe raises, asked after each ``interval`` seconds in which nothing has passed."""
    # No cancel scope: this is on the way of every run, and a scope costs as much as all the rest of it.
    watch = _Watch(probe, interval, flow)
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
