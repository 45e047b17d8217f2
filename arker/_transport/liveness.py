"""Waiting for a reply that takes as long as a command, with regular checks of whether it can still come."""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeAlias, TypeVar

from arker._protocol.request import Flow
from arker._tasks import clock
from arker._tasks.cleanup import end
from arker._tasks.running_loop import running_loop

T = TypeVar("T")

Probe: TypeAlias = Callable[[], Awaitable[None]]
"""Called during the silence; its exception ends the wait."""

_ENDED: Final = "there is no use in waiting on"


class _Round:
    """The waits of one loop with the same interval, with one timer for all: most replies come before it rings.

    With a timer for each wait, setting and cancelling it would take longer than all else that is done here.
    """

    __slots__ = ("_due", "_interval", "_is_armed", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, interval: float) -> None:
        # As all wait equally long, the first ones are due first.
        self._due: dict[_Questions, float] = {}
        self._interval = interval
        self._is_armed = False
        self._loop = loop

    def add(self, questions: _Questions) -> None:
        self._due[questions] = clock.now() + self._interval
        if not self._is_armed:
            self._arm(self._interval)

    def remove(self, questions: _Questions) -> None:
        self._due.pop(questions, None)

    def _arm(self, seconds: float) -> None:
        self._is_armed = True
        self._loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._is_armed = False
        for questions, due in list(self._due.items()):
            left = due - clock.now()
            if left > 0:
                self._arm(left)
                return
            del self._due[questions]
            questions.begin()


_rounds: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[float, _Round]] = weakref.WeakKeyDictionary()


def _round_of(loop: asyncio.AbstractEventLoop, interval: float) -> _Round:
    rounds = _rounds.get(loop)
    if rounds is None:
        rounds = _rounds[loop] = {}
    found = rounds.get(interval)
    if found is None:
        found = rounds[interval] = _Round(loop, interval)
    return found


class _Questions:
    """A timer that becomes a task only after some silence, since most replies come sooner."""

    __slots__ = ("_flow", "_interval", "_loop", "_probe", "_round", "_task", "_tell", "_timer")

    def __init__(self, probe: Probe, interval: float, flow: Flow, tell: Callable[[Exception], None]) -> None:
        """Start the timer.

        Args:
            probe: The function to call.
            interval: Seconds of silence before each question.
            flow: The bytes transferred meanwhile.
            tell: Called once with the exception of the probe.
        """
        self._loop = running_loop()
        self._probe = probe
        self._interval = interval
        self._flow = flow
        self._tell = tell
        self._task: asyncio.Task[None] | None = None
        self._timer: clock.Timer | None = None
        self._round: _Round | None = None
        if clock.goes(self._loop):
            self._round = _round_of(self._loop, interval)
            self._round.add(self)
        else:
            self._timer = clock.call_later(self._loop, interval, self.begin)

    def begin(self) -> None:
        """Begin to ask."""
        self._task = self._loop.create_task(self._ask())

    async def _ask(self) -> None:
        passed = 0
        while True:
            # A large body may take its time, and is no silence.
            before, passed = passed, self._flow.passed()
            if passed == before:
                try:
                    await self._probe()
                except Exception as error:
                    self._tell(error)
                    return
            await clock.sleep(self._interval)

    def stop(self) -> asyncio.Task[None] | None:
        """Stop asking. Returns the task that still has to end, if any."""
        if self._round is not None:
            self._round.remove(self)
        if self._timer is not None:
            self._timer.cancel()
        return self._task


if sys.version_info >= (3, 11):

    class _Interruption:
        """A way to end the wait of the task that it is made in, by cancelling the task."""

        __slots__ = ("_before", "_waiting", "reason")

        def __init__(self) -> None:
            waiting = asyncio.current_task()
            assert waiting is not None
            self._waiting = waiting
            self._before = waiting.cancelling()  # a task that cleans up after it was cancelled was asked to end before
            self.reason: Exception | None = None

        def interrupt(self, reason: Exception) -> None:
            self.reason = reason
            self._waiting.cancel(_ENDED)

        def is_ours(self) -> bool:
            """Return whether only this object cancelled the task. If so, the cancellation is taken back."""
            return self.reason is not None and self._waiting.uncancel() <= self._before

    async def watched(answer: Coroutine[Any, Any, T], probe: Probe, interval: float, flow: Flow) -> T:
        """Return the reply, or raise the probe's error.

        The probe runs after each ``interval`` seconds without transferred bytes.
        """
        # No cancel scope: every run passes here, and a scope costs as much as all the rest.
        interruption = _Interruption()
        questions = _Questions(probe, interval, flow, interruption.interrupt)
        try:
            return await answer
        except asyncio.CancelledError:
            if not interruption.is_ours():
                raise
        finally:
            asking = questions.stop()
            if asking is not None:
                await end(asking)
        assert interruption.reason is not None
        raise interruption.reason

else:

    async def watched(answer: Coroutine[Any, Any, T], probe: Probe, interval: float, flow: Flow) -> T:
        """Return the reply, or raise the probe's error.

        The probe runs after each ``interval`` seconds without transferred bytes.
        """
        # In a task of its own: before Python 3.11 no task can tell by whom, and how often, it was cancelled.
        loop = running_loop()
        task = loop.create_task(answer)
        over: asyncio.Future[None] = loop.create_future()

        def interrupt(reason: Exception) -> None:
            if not over.done():
                over.set_exception(reason)

        def answered(_: asyncio.Task[T]) -> None:
            if not over.done():
                over.set_result(None)

        questions = _Questions(probe, interval, flow, interrupt)
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
        return task.result()


__all__ = ["Probe", "watched"]
