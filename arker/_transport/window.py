"""The number of requests that a client may have in flight: pure functions of the server's answers.

An overloaded server says so (HTTP 429 and similar). It does not say what its limit is, so the limit is found by trying.
The window begins small and opens while all goes well, by as much as the client has time for, and slowly where it
cannot keep up: more requests in flight would only cost connections. Refusals come at once, so the requests still in
flight then are what the server accepts: their number becomes the window. From then on it opens by one only after a
while without refusals, and after twice as long if that was refused again. Times are in seconds, from any monotonic
clock.

How soon "at once" is depends on the way to the server. The network's round trip, once known, tells how long a refusal
may take: where answers are late, and a client with time to spare has waited for so long, the window opens by a step,
so that few requests are refused whatever the server takes.
"""

from __future__ import annotations

import math
from typing import Final

INITIAL: Final = 88
"""The initial size: with answers after 20 ms it keeps a processor busy for most of the time."""
STEP: Final = 72
"""The most by which it opens at once. So many may be refused before the server's limit is known: not even one in twenty
requests where 500 VMs are forked, used and deleted at once."""
UNANSWERED: Final = 0.2
"""Seconds since the last request after which the first opening goes on by itself: an overloaded server says so at
once, while a good answer may take as long as a command. It is less once the round trip is known."""
ROUND_TRIPS: Final = 4
"""Round trips in which a refusal arrives: a server may have others to ask, and packets may be lost."""
REFUSING: Final = 0.005
"""Seconds that a server needs to refuse, beside the round trips."""
LOOK: Final = 0.002
"""Seconds between two checks of whether the client has time to spare, during the first opening."""
PUNCTUAL: Final = 0.005
"""Seconds; a loop that comes back no later than this has had little else to do. Timers are late by one thousandth."""
SPARE: Final = 3
"""Punctual checks in a row that show that the client has time to spare; a busy loop is punctual at times, too."""
PACE: Final = 6
"""The most by which answers open it at a punctual check: so many more requests take about as long as until the next. A
client that waits for a moment between two answers opens no more connections than it has time for."""
GAP: Final = 0.03
"""Seconds; with a client that works as fast as it can, answers are seldom farther apart."""
RELUCTANCE: Final = 0.25
"""Seconds after which the window opens a little although the client seems to be busy."""
GREAT_RELUCTANCE: Final = 1.0
"""The same, where as many answers have come in that time as there are places: with more of them, no more would come."""
LATE: Final = 0.02
"""Seconds; a loop that comes back later than this has been busy, and answers may be waiting to be read."""
RECOVERY: Final = 1.0
"""Seconds after which a slightly closed window opens by itself, for requests that wait behind long commands."""
PATIENCE: Final = 1.0
"""Seconds without a refusal before the window opens beyond the last refused size; doubled after each failure."""
LONGEST_PATIENCE: Final = 30.0
SLOWEST: Final = 2.0
"""Seconds; the longest time between two requests that the client itself decides on."""
_FASTEST: Final = 0.05
_EASE: Final = 0.9
_FREE: Final = 1.25


class Window:
    """The window of one client.

    Attributes:
        ceiling: The largest size.
        size: The number of requests that may be in flight, with a fraction.
        places: The number of requests that may be in flight.
        places_to_wait: How many of them may wait for work of unknown length; the others never queue behind
            those.
        spacing: Seconds between two requests, when even one at a time is too much.
        opens_at: Nothing may be sent before this moment, except deletions.
        opens_to_deletions_at: No deletion may be sent before this moment. A time for which the server asked to wait
            does not count: a VM whose block ends would stay for want of a request that only relieves the server. Where
            the server refuses deletions as well, they are tried ever more rarely until that time is over.
    """

    def __init__(self, ceiling: int, *, size: float = INITIAL) -> None:
        self.ceiling = ceiling
        self._resize(size)
        self.spacing = 0.0
        self.opens_at = self.opens_to_deletions_at = -math.inf
        # For this time the server has asked to wait.
        self._asked_at = self._asked_until = -math.inf
        self._pause = 0.0  # between deletions in that time
        self._paused_until = -math.inf
        # Requests in flight when the server last refused one; infinity while it has refused none.
        self._limit = math.inf
        self._patience = PATIENCE
        self._quiet_since = self._grown_at = self._sent_at = -math.inf
        self._earned = 0.0  # how much the answers so far allow it to grow
        self._answers = 0  # since it last grew because of answers
        self._unanswered = UNANSWERED
        self._knows_way = False
        self._punctual = 0

    def _resize(self, size: float) -> None:
        self.size = size = min(float(size), float(self.ceiling))
        # Both are asked for with each request, and change far more rarely.
        self.places = places = int(size)
        self.places_to_wait = max(1, places - min(8, max(1, places // 8)))

    def learn_round_trip(self, seconds: float) -> None:
        """Note how long the network takes to one of the servers and back."""
        enough = min(UNANSWERED, ROUND_TRIPS * seconds + REFUSING)
        self._unanswered = max(self._unanswered, enough) if self._knows_way else enough
        self._knows_way = True

    def sent(self, now: float) -> None:
        """Note that a request is sent."""
        self._sent_at = now
        if self.spacing:
            self._space(now)

    def _space(self, now: float) -> None:
        self.opens_at = max(self.opens_at, now + self.spacing)
        self.opens_to_deletions_at = max(self.opens_to_deletions_at, now + self.spacing)

    def looked(self, now: float, *, late: float) -> None:
        """Note that a loop with waiting requests has woken up, as `opens_next` asked.

        Args:
            now: The time.
            late: Seconds since the time that `opens_next` returned.
        """
        if late > LATE:
            # The loop was not reading meanwhile: that time is no silence, and arrived answers are still unread.
            self._sent_at = min(now, max(self._sent_at + late, now - self._unanswered + LOOK))
        self._punctual = self._punctual + 1 if late <= PUNCTUAL else 0
        if not self._earned or self._limit < math.inf:
            return
        if self._grown_at == -math.inf:
            self._grown_at = now
        if self._punctual >= SPARE:
            by = min(self._earned, PACE)
        elif now >= self._grown_at + (RELUCTANCE if self._answers < self.size else GREAT_RELUCTANCE):
            by = min(self._earned, self.size / 8)
        else:
            return
        self._earned -= by
        self._answers = 0
        self._grown_at = now
        self._grow(by)

    def answered(self, now: float) -> None:
        """Note an answer that does not report overload."""
        if self.spacing:
            self.spacing = self.spacing * _EASE if self.spacing > _FASTEST / 8 else 0.0
        elif self.size == self.ceiling:
            return
        elif self._limit == math.inf:
            # It may double in the time in which all of them are answered once.
            self._earned = min(self._earned + 1.0, self.size)
            self._answers += 1
        elif now >= self._quiet_since + self._patience:
            self._grow(1.0 / self.size)  # by one in the time in which all of them are answered once

    def refused(
        self, now: float, *, in_flight: int, retry_after: float | None, deletion_sent: float | None = None
    ) -> None:
        """Note a refusal because of overload.

        Args:
            now: The time.
            in_flight: The number of other requests in flight.
            retry_after: Seconds that the server asked to wait, if it did.
            deletion_sent: When the request was sent, if it is a deletion.
        """
        sent = -math.inf if deletion_sent is None else deletion_sent
        nevertheless = self._asked_at < sent < self._asked_until
        if retry_after is not None:
            if now >= self._asked_until:
                self._asked_at, self._pause = now, 0.0
            self._asked_until = max(self._asked_until, now + retry_after)
            self.opens_at = max(self.opens_at, now + retry_after)
        if nevertheless:
            # It was sent although the server had asked to wait, so it tells nothing about how much the server takes.
            if sent >= self._paused_until:  # else it was under way with one that was refused
                self._pause = min(SLOWEST, max(_FASTEST, self._pause * 2))
            self._paused_until = min(self.opens_at, now + self._pause)
            self.opens_to_deletions_at = max(self.opens_to_deletions_at, self._paused_until)
            return
        if in_flight == 0:
            self.spacing = min(SLOWEST, max(_FASTEST, self.spacing * 2))
            self._space(now)
        if self._limit < math.inf and now >= self._quiet_since + self._patience:
            self._patience = min(LONGEST_PATIENCE, self._patience * 2)  # growing again was too early
        self._quiet_since = self._grown_at = now
        self._earned = 0.0
        self._limit = float(max(1, min(self.places, in_flight)))
        self._resize(self._limit)

    def opens_next(self, now: float) -> float | None:
        """Return when the waiting requests should be checked again; None if nothing changes by itself."""
        if now < self.opens_at:
            return self.opens_at
        if self.size >= self.ceiling:
            return None
        if self._limit == math.inf:
            return now + LOOK
        return max(now, self._grown_at + RECOVERY, self._quiet_since + self._patience)

    def waited(self, now: float) -> None:
        """Note that requests have waited until now: the window opens by itself when it is due."""
        if now < self.opens_at:
            return
        if self._limit == math.inf:
            if now < self._sent_at + self._unanswered:
                return
            if not self._knows_way:
                self._grow(min(self.size / 2, STEP))
            elif self._punctual >= SPARE:
                # A loop that was busy in so short a time may have a refusal to read: it has to be punctual once more.
                self._punctual = SPARE - 1
                # Where answers come, a short silence is but a gap between two of them.
                by = PACE if self._grown_at > -math.inf and now < self._sent_at + GAP else STEP
                self._grow(min(self.size, by))
        elif now >= max(self._grown_at + RECOVERY, self._quiet_since + self._patience):
            self._grown_at = now
            self._grow(1.0)

    def _grow(self, by: float) -> None:
        self._resize(self.size + by)
        if self.size > self._limit * _FREE + 1:  # the server accepts far more than it did then
            self._limit, self._patience = math.inf, PATIENCE


__all__ = ["Window"]
