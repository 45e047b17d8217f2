"""Waiting for a reply that takes as long as a command, with regular checks of whether it can still come."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeAlias, TypeVar

from arker._protocol.request import Flow
from arker._tasks import clock
from arker._tasks.cleanup import end
from arker._tasks.rounds import Round
from arker._tasks.running_loop import running_loop

T = TypeVar("T")

Probe: TypeAlias = Callable[[bool], Awaitable[None]]
"""Called after each interval, with whether bytes were transferred in it: then it was no silence.

Its exception ends the wait.
"""

_ENDED: Final = "there is no use in waiting on"


_rounds: Final[dict[tuple[asyncio.AbstractEventLoop, float], Round[_Questions]]] = {}


def _new_round(loop: asyncio.AbstractEventLoop, interval: float) -> Round[_Questions]:
    for key in [key for key in list(_rounds) if key[0].is_closed()]:
        _rounds.pop(key, None)
    return _rounds.setdefault((loop, interval), Round(loop, interval, _Questions.begin))


class _Questions:
    """A timer that becomes a task only after some silence, since most replies come sooner."""

    __slots__ = ("_flow", "_interval", "_loop", "_probe", "_round", "_task", "_timer", "reason")

    def __init__(self, probe: Probe, interval: float, flow: Flow) -> None:
        """Start the timer.

        Args:
            probe: The function to call.
            interval: Seconds of silence before each question.
            flow: The bytes transferred meanwhile.
        """
        self.reason: Exception | None = None
        """The exception of the probe, once that has ended the wait."""
        self._loop = running_loop()
        self._probe = probe
        self._interval = interval
        self._flow = flow
        self._task: asyncio.Task[None] | None = None
        self._timer: clock.Timer | None = None
        self._round: Round[_Questions] | None = None
        if clock.goes(self._loop):
            self._round = _rounds.get((self._loop, interval)) or _new_round(self._loop, interval)
            self._round.add(self)
        else:
            self._timer = clock.call_later(self._loop, interval, self.begin)

    def begin(self) -> None:
        """Begin to ask."""
        self._task = self._loop.create_task(self._ask())

    async def _ask(self) -> None:
        passed = 0
        while True:
            before, passed = passed, self._flow.passed()
            try:
                await self._probe(passed != before)
            except Exception as error:
                self.reason = error
                self.interrupt()
                return
            await clock.sleep(self._interval)

    def interrupt(self) -> None:
        """End the wait."""
        raise NotImplementedError

    def stop(self) -> asyncio.Task[None] | None:
        """Stop asking. Returns the task that still has to end, if any."""
        if self._round is not None:
            self._round.due.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        return self._task


if sys.version_info >= (3, 11):

    class _Cancelling(_Questions):
        """Questions that end the wait by cancelling its task."""

        __slots__ = ("waiting",)
        waiting: asyncio.Task[Any]

        def interrupt(self) -> None:
            self.waiting.cancel(_ENDED)

    async def watched(answer: Coroutine[Any, Any, T], probe: Probe, interval: float, flow: Flow) -> T:
        """Return the reply, or raise the probe's error.

        The probe runs after each ``interval`` seconds.
        """
        # No cancel scope and no closure: every run passes here, and a scope costs as much as all the rest.
        waiting = asyncio.current_task()
        assert waiting is not None
        before = waiting.cancelling()  # a task that cleans up after it was cancelled was asked to end before
        questions = _Cancelling(probe, interval, flow)
        questions.waiting = waiting
        try:
            return await answer
        except asyncio.CancelledError:
            # Unless nothing else has cancelled the task: then the cancellation is taken back.
            if questions.reason is None or waiting.uncancel() > before:
                raise
            reason = questions.reason
        finally:
            asking = questions.stop()
            if asking is not None:
                await end(asking)
            questions.reason = None  # its traceback leads to the questions
            del waiting, questions  # the task keeps what it fails with, whose traceback has this frame
        try:
            raise reason
        finally:
            del reason  # its traceback has this frame

else:

    class _Telling(_Questions):
        """Questions that end the wait by a future."""

        __slots__ = ("over",)
        over: asyncio.Future[None]

        def interrupt(self) -> None:
            if not self.over.done() and self.reason is not None:
                self.over.set_exception(self.reason)

    async def watched(answer: Coroutine[Any, Any, T], probe: Probe, interval: float, flow: Flow) -> T:
        """Return the reply, or raise the probe's error.

        The probe runs after each ``interval`` seconds.
        """
        # In a task of its own: before Python 3.11 no task can tell by whom, and how often, it was cancelled.
        loop = running_loop()
        task = loop.create_task(answer)
        over: asyncio.Future[None] = loop.create_future()

        def answered(_: asyncio.Task[T]) -> None:
            if not over.done():
                over.set_result(None)

        questions = _Telling(probe, interval, flow)
        questions.over = over
        task.add_done_callback(answered)
        try:
            await over
        except BaseException:
            flow.endings += 1
            try:
                await end(task)
            except asyncio.CancelledError:
                flow.endings += 1
                raise
            raise
        finally:
            asking = questions.stop()
            if asking is not None:
                await end(asking)
            questions.reason = None  # its traceback leads to the questions, and to this frame
            del over, questions.over
        try:
            return task.result()
        finally:
            del task  # it keeps what it failed with, whose traceback has this frame


__all__ = ["Probe", "watched"]
