"""How many requests a client may have in flight: pure functions of what the server answered.

A server that is asked too much says so (HTTP 429 and its kin). How much is too much it does not say, so the window is
found by trying: it begins small, opens quickly while all goes well, is cut when the server says no, and from then on
opens slowly, so that a server at its limit says no to a request now and then only. Time is given in seconds, from any
clock that never goes back.
"""

from __future__ import annotations

import math
from typing import Final

from attrs import define, field

INITIAL: Final = 96
"""What a client begins with: with answers after 20 ms it keeps a processor busy."""
DOUBLING: Final = 0.025
"""Seconds after which the first opening goes on by itself: who is asked too much says so at once, while a good answer
may take as long as a command."""
RECOVERY: Final = 1.0
"""Seconds after which a window that has been cut opens by a tenth by itself."""
CUT: Final = 0.75
SLOWEST: Final = 2.0
"""Seconds; the longest time between two requests that the client itself decides on."""
_FASTEST: Final = 0.05
_EASE: Final = 0.9


@define
class Window:
    """The state of one client.

    Attributes:
        ceiling: It never opens wider than this.
        size: How many requests may be in flight.
        spacing: Seconds between two requests, when even one at a time is too much.
        opens_at: Nothing may be sent before this moment.
    """

    ceiling: int
    size: float = field(default=float(INITIAL))
    spacing: float = 0.0
    opens_at: float = -math.inf
    _threshold: float = math.inf
    _cut_at: float = -math.inf
    _grown_at: float = -math.inf

    def __attrs_post_init__(self) -> None:
        self.size = min(self.size, float(self.ceiling))

    @property
    def places(self) -> int:
        """How many requests may be in flight."""
        return int(self.size)

    @property
    def places_to_wait(self) -> int:
        """How many of them may be such as wait for work of unknown length; the others never queue behind those."""
        return max(1, self.places - min(8, max(1, self.places // 8)))

    def sent(self, now: float) -> None:
        """A request goes out."""
        if self.spacing:
            self.opens_at = max(self.opens_at, now + self.spacing)

    def answered(self) -> None:
        """A request was answered, and not because of overload."""
        if self.spacing:
            self.spacing = self.spacing * _EASE if self.spacing > _FASTEST / 8 else 0.0
        elif self.size < self._threshold:
            self._grow(1.0)
        else:
            self._grow(1.0 / self.size)  # by one in the time in which all of them are answered once

    def refused(self, now: float, *, sent_at: float, in_flight: int, retry_after: float | None) -> None:
        """A request was refused because of overload.

        Args:
            now: The moment.
            sent_at: When it was sent.
            in_flight: How many were in flight, this one included.
            retry_after: Seconds that the server asked to wait, if it did.
        """
        if retry_after is not None:
            self.opens_at = max(self.opens_at, now + retry_after)
        if sent_at < self._cut_at:
            return  # it was on its way when the window was cut, and says nothing about its new size
        self._cut_at = self._grown_at = now
        if self.size < 2:
            self.spacing = min(SLOWEST, max(_FASTEST, self.spacing * 2))
            self.opens_at = max(self.opens_at, now + self.spacing)
        self.size = self._threshold = max(1.0, min(self.size, in_flight) * CUT)

    def opens_next(self, now: float) -> float | None:
        """When something changes by itself for those who wait; None if nothing does."""
        if now < self.opens_at:
            return self.opens_at
        if self.size >= self.ceiling:
            return None
        return max(now, self._grown_at) + (DOUBLING if self._threshold == math.inf else RECOVERY)

    def waited(self, now: float) -> None:
        """Requests have been waiting until now: the window opens by itself, when its time has come."""
        if now < self.opens_at:
            return
        if self._grown_at == -math.inf:
            self._grown_at = now  # somebody begins to wait
        elif self._threshold == math.inf:
            if now >= self._grown_at + DOUBLING:
                self._grown_at = now
                self._grow(self.size)
        elif now >= self._grown_at + RECOVERY:
            self._grown_at = now
            self._grow(max(1.0, self.size / 10))

    def _grow(self, by: float) -> None:
        self.size = min(float(self.ceiling), self.size + by)


__all__ = ["Window"]
