"""Places in a client's window: which requests may be sent now, and the order of the others."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
from collections import deque
from typing import TYPE_CHECKING

from arker._tasks import clock
from arker._tasks.running_loop import running_loop, running_loop_if_any
from arker._transport.retry import MAX_RETRY_AFTER

if TYPE_CHECKING:
    from arker._transport.window import Window


class _Waiting:
    """A loop in which requests wait."""

    __slots__ = ("count", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.count = 0
        """The number of waiting requests."""


class _Waiter:
    __slots__ = ("admitted", "deletes", "future", "number", "of", "waits")

    def __init__(self, number: int, waits: bool, deletes: bool, of: _Waiting) -> None:
        self.number = number
        self.waits = waits
        self.deletes = deletes
        self.of = of
        self.future: asyncio.Future[None] = of.loop.create_future()
        self.admitted = False

    def wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Limiter:
    """The places of a window, first come, first served, shared by the tasks of all loops and threads.

    A refused request comes back with its old number, and so before later ones. While the server has asked to wait,
    only deletions are sent.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        # A discarded coroutine gives its place back when it is garbage collected, maybe while this lock is held.
        self._lock = threading.RLock()
        self._in_flight = 0
        self._waiting_in_flight: int = 0
        self._quick: deque[_Waiter] = deque()
        self._slow: deque[_Waiter] = deque()
        """The waiting requests that themselves wait for work of unknown length."""
        self._deletions = 0
        """How many of the waiting requests are deletions."""
        self._loops: dict[asyncio.AbstractEventLoop, _Waiting] = {}
        """The loops in which requests wait."""
        self._timers: dict[asyncio.AbstractEventLoop, float] = {}
        """When the timer of each loop rings; the past for one that is about to be set."""
        self.number = itertools.count(1).__next__
        """Returns a number in the queue. Call it once for each operation."""

    @property
    def in_flight(self) -> int:
        """The number of requests that have a place."""
        return self._in_flight

    @property
    def queued(self) -> int:
        """The number of requests that wait for a place."""
        return len(self._quick) + len(self._slow)

    def learn_round_trip(self, seconds: float) -> None:
        """Note how long the network takes to the server and back."""
        with self._lock:
            self.window.learn_round_trip(seconds)

    def try_enter(self, waits: bool, deletes: bool = False) -> bool:
        """Take a place if one is free and no earlier request waits.

        Args:
            waits: Whether the request waits for work of unknown length.
            deletes: Whether it deletes something.
        """
        with self._lock:
            queue = self._slow if waits else self._quick
            if queue and (not deletes or self._deletions):
                return False
            now, window = clock.now(), self.window
            if now < window.opens_at:
                if not deletes or self._deletions or now < window.opens_to_deletions_at:
                    return False
            elif queue:
                return False
            if self._in_flight >= window.places:
                # With a single place, a request that waits for a command would block all others, so one more is added.
                if waits or self._in_flight > self._waiting_in_flight:
                    return False
            elif waits and self._waiting_in_flight >= window.places_to_wait:
                return False
            self._in_flight += 1
            self._waiting_in_flight += waits
            window.sent(now)
            return True

    async def enter(self, waits: bool, number: int, deletes: bool = False) -> None:
        """Wait for a place. The caller gives it back by `leave`."""
        loop = running_loop()
        with self._lock:
            of = self._loops.get(loop)
            if of is None:
                of = self._loops[loop] = _Waiting(loop)
            of.count += 1
            self._deletions += deletes
            waiter = _Waiter(number, waits, deletes, of)
            queue = self._slow if waits else self._quick
            if queue and queue[-1].number > number:
                place = next(index for index, other in enumerate(queue) if other.number > number)
                queue.insert(place, waiter)
            else:
                queue.append(waiter)
            if queue[0] is waiter or deletes:  # else the requests before it wait as well
                self._pump()
            if (loop not in self._timers or deletes) and not waiter.admitted:
                self._watch()
        try:
            await waiter.future
        except BaseException:  # also when the coroutine is closed because its loop has ended
            with self._lock:
                if waiter.admitted:
                    self._release(waits)
                    self._pump()
                elif waiter in queue:
                    queue.remove(waiter)
                    self._dequeued(waiter)
            raise

    def leave(self, waits: bool) -> None:
        """Give a place back after a request that says nothing about the server's load."""
        with self._lock:
            self._release(waits)
            self._pump()

    def answered(self, waits: bool) -> None:
        """Give a place back after an answer."""
        with self._lock:
            self._in_flight -= 1
            self._waiting_in_flight -= waits
            now = clock.now()
            self.window.answered(now)
            if self._quick or self._slow:
                self._pump(now)

    def refused(self, waits: bool, *, retry_after: float | None, deletion_sent: float | None = None) -> None:
        """Give a place back after an answer that reports overload.

        Args:
            waits: Whether the request waits for work of unknown length.
            retry_after: Seconds that the server asked to wait, if it did.
            deletion_sent: When the request was sent, if it is a deletion.
        """
        with self._lock:
            self._release(waits)
            now = clock.now()
            # A request with a long delay is not repeated; others may get another answer.
            if retry_after is not None and retry_after > MAX_RETRY_AFTER:
                retry_after = None
            self.window.refused(now, in_flight=self._in_flight, retry_after=retry_after, deletion_sent=deletion_sent)
            self._pump()
            self._watch()

    # --- with the lock held -------------------------------------------------------------------------------------

    def _release(self, waits: bool) -> None:
        self._in_flight -= 1
        self._waiting_in_flight -= waits

    def _pump(self, now: float | None = None) -> None:
        """Admit the waiting requests that have a place."""
        quick, slow = self._quick, self._slow
        if not quick and not slow:
            return
        now = clock.now() if now is None else now
        window = self.window
        window.waited(now)
        here = running_loop_if_any()
        if self._deletions and now < window.opens_at:
            self._pump_deletions(now, here)
        # Nearly every answer comes here and admits one request: the conditions are those of `try_enter`.
        while now >= window.opens_at:
            free = self._in_flight < window.places
            if not free and self._in_flight > self._waiting_in_flight:
                break  # neither queue has a place, as after nearly every admission
            goes = bool(quick)
            if slow and free and self._waiting_in_flight < window.places_to_wait:
                # The first of both queues, unless it is the one that has no place.
                goes = goes and quick[0].number < slow[0].number
            elif not goes:
                break
            self._admit((quick if goes else slow).popleft(), now, here)
        else:
            self._watch()  # the request admitted just now may delay all others

    def _pump_deletions(self, now: float, here: asyncio.AbstractEventLoop | None) -> None:
        """Admit the waiting deletions that have a place, while the server has asked to wait."""
        window = self.window
        for queue in (self._quick, self._slow):
            for waiter in [waiter for waiter in queue if waiter.deletes]:
                is_free = self._in_flight < window.places or self._in_flight <= self._waiting_in_flight
                if now < window.opens_to_deletions_at or not is_free:
                    return
                queue.remove(waiter)
                self._admit(waiter, now, here)

    def _admit(self, waiter: _Waiter, now: float, here: asyncio.AbstractEventLoop | None) -> None:
        """Give a place to a request that has just been taken out of its queue."""
        # As `_dequeued`, without a call of its own: this is done for nearly every request of hundreds.
        self._deletions -= waiter.deletes
        of = waiter.of
        of.count -= 1
        loop = of.loop
        if not of.count:
            del self._loops[loop]
        self._in_flight += 1
        self._waiting_in_flight += waiter.waits
        self.window.sent(now)
        waiter.admitted = True
        if loop is here:
            if not waiter.future.done():
                waiter.future.set_result(None)
            return
        try:
            loop.call_soon_threadsafe(waiter.wake)
        except RuntimeError:  # its loop was closed under it
            self._release(waiter.waits)
            waiter.admitted = False

    def _dequeued(self, waiter: _Waiter) -> None:
        self._deletions -= waiter.deletes
        of = waiter.of
        of.count -= 1
        if not of.count:
            del self._loops[of.loop]

    def _opens_next(self, now: float) -> float | None:
        """Return when the waiting requests should be checked again; None if nothing changes by itself."""
        at = self.window.opens_to_deletions_at
        return at if self._deletions and now < at else self.window.opens_next(now)

    def _watch(self) -> None:
        """Schedule a wake-up of each loop with waiters for when the window opens by itself."""
        here = running_loop_if_any()
        self._timers = {loop: at for loop, at in self._timers.items() if not loop.is_closed()}
        now = clock.now()
        opens = self._opens_next(now)
        # A refusal may let the window open sooner than it was to open before.
        for loop in [
            loop for loop in self._loops if self._timers.get(loop, math.inf) > (now if opens is None else opens)
        ]:
            try:
                (loop.call_soon if loop is here else loop.call_soon_threadsafe)(self._arm, loop)
            except RuntimeError:  # it was closed under its waiters
                continue
            self._timers[loop] = -math.inf

    # --- callbacks of a loop ------------------------------------------------------------------------------------

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            now = clock.now()
            opens = self._opens_next(now)
            self._timers[loop] = at = now if opens is None else opens
        if opens is not None:
            clock.call_later(loop, at - now, self._come_back, loop, at)
        else:
            self._come_back(loop, at)

    def _come_back(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        with self._lock:
            if self._timers.get(loop) != at:
                return  # another timer has taken its place
            del self._timers[loop]
            now = clock.now()
            self.window.looked(now, late=now - at)
            self._pump()
            if self._opens_next(clock.now()) is not None:
                self._watch()


class Unlimited:
    """A limiter for requests outside of the window: it has unlimited places."""

    def number(self) -> int:
        return 0

    def try_enter(self, waits: bool, deletes: bool = False) -> bool:
        return True

    async def enter(self, waits: bool, number: int, deletes: bool = False) -> None:
        return None

    def leave(self, waits: bool) -> None:
        return None

    def answered(self, waits: bool) -> None:
        return None

    def refused(self, waits: bool, *, retry_after: float | None, deletion_sent: float | None = None) -> None:
        return None


UNLIMITED = Unlimited()

__all__ = ["UNLIMITED", "Limiter", "Unlimited"]
