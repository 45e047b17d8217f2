"""The times and kinds of the requests that poll a run. Pure: the time is passed in.

A run can only be read whole (contract, section 4), so reading it at fixed intervals would cost the square of its
output. So there are two requests. The one for its end costs some hundred bytes, and is sent often. The one for its
output is sent when enough of it is new: all readings together cost at most three times the output, in bytes of replies,
if it grows steadily, and at most four and a half times in any case, apart from a small allowance that keeps small
outputs lively.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from attrs import define, field

if TYPE_CHECKING:
    from arker.models import RunSummary

ASK_SECONDS: Final = 10.0
"""Bound on one question, in seconds: a server that does not answer it says nothing about the run."""
ENDED: Final = ("completed", "failed", "cancelled")
GOING_ON: Final = ("running", "pending")

SHORTEST: Final = 0.03
LONGEST: Final = 2.0
SHARE: Final = 0.15
"""A pause is this share of the time without news, within the two bounds, in seconds."""

COST: Final = 3.0
"""Bytes that may be read, for each byte of output."""
FREE_BYTES: Final = 256 * 1024
FREE_RATE: Final = 16 * 1024
"""The allowance beyond that: a number of bytes, and more bytes for each second."""
MARGIN: Final = 1.1
"""The margin on the required output where a reading relies on an estimate."""
PACE: Final = 32 * 1024 * 1024
"""The most bytes per second for readings of large outputs."""
_HEAVIEST: Final = 1.4
"""The most bytes of a reply for a byte of output that the plan assumes."""


def has_ended(run: RunSummary) -> bool:
    """Return whether a run has ended. In a state that this version does not know, other fields decide."""
    if run.state in ENDED:
        return True
    return run.state not in GOING_ON and (run.completed_at is not None or run.exit_code is not None)


def pause(quiet: float) -> float:
    """Return the seconds until the next request, after this many seconds without news."""
    return min(LONGEST, max(SHORTEST, quiet * SHARE))


class Question(enum.Enum):
    """The kind of a request."""

    ENDED = "whether the run has ended"
    OUTPUT = "what it has written"


@define(eq=False)
class Planner:
    """A plan of the requests about one run whose output is streamed.

    After a reading, another one is due at the end, for the rest of the output. So a reading is certain to stay within
    the bound if all earlier readings, this one and one at the end stay below it even if nothing is new. Otherwise it is
    made when the output should have grown enough at its earlier rate. If that was wrong, no estimate is used until a
    certain reading has shown something new.

    Attributes:
        began: The time of the run's start, if that was seen, or else of the first look at it.
        witnessed: Whether its start was seen, so that the first reading shows how quickly it writes.
        max_delay: Seconds after which it is read again at any cost.
    """

    began: float
    witnessed: bool = True
    max_delay: float | None = None
    _asked: float | None = field(default=None, init=False)
    _read: float | None = field(default=None, init=False)
    _grew: float = field(default=0.0, init=False)
    _known: int = field(default=0, init=False)
    _spent: float = field(default=0.0, init=False)
    _weight: float = field(default=1.0, init=False)
    _rate: float = field(default=0.0, init=False)
    _ended: bool = field(default=False, init=False)
    _contradictions: int = field(default=0, init=False)

    def next(self) -> tuple[float, Question]:
        """Return the next request, and when it is due."""
        if self._asked is None or self._read is None:
            return self.began, Question.OUTPUT
        if self._ended:
            # A server that says "ended" and then "running" must not have its large reply read again and again.
            doubt = min(LONGEST, SHORTEST * 2**self._contradictions) if self._contradictions else 0.0
            return max(self._asked, self._read + doubt), Question.OUTPUT
        due = self._asked + pause(self._asked - self._grew)
        if self.max_delay is not None and self._read + self.max_delay <= due:
            return max(self._asked, self._read + self.max_delay), Question.OUTPUT
        return due, Question.OUTPUT if self._is_worth_it(due) else Question.ENDED

    def _needed(self, now: float) -> float:
        """Return how large the output must be for a reading, so that it and one at the end stay below the bound."""
        free = FREE_BYTES + FREE_RATE * (now - self.began)
        return (self._spent - free) / (COST - 2 * self._weight)

    def _is_worth_it(self, now: float) -> bool:
        read = self._read if self._read is not None else now
        if now < read + self._known * self._weight / PACE:
            return False
        needed = self._needed(now)
        if needed <= self._known:
            return True
        return self._rate > 0 and needed * MARGIN <= self._known + self._rate * (now - read)

    def asked(self, now: float, *, ended: bool) -> None:
        """Note a reply on whether the run has ended."""
        self._asked, self._ended = now, ended

    def read(self, now: float, *, size: int, cost: float) -> None:
        """Note a reading of the run, which goes on.

        Args:
            now: The time.
            size: Bytes of its output so far.
            cost: Bytes of the reply.
        """
        fell_short = self._read is not None and size < self._needed(now)
        since = self._read if self._read is not None else self.began
        recent = (size - self._known) / max(now - since, 1e-6)
        average = size / max(now - self.began, 1e-6)
        guesses = not fell_short and (self._read is not None or self.witnessed)
        self._rate = min(recent, average) if guesses else 0.0
        if size > self._known or self._read is None:
            self._grew = now
        if self._ended:
            self._contradictions += 1
        self._asked = self._read = now
        self._ended = False
        self._known = size
        self._spent += cost
        self._weight = min(_HEAVIEST, max(1.0, cost / size)) if size else 1.0


__all__ = [
    "ASK_SECONDS",
    "COST",
    "ENDED",
    "FREE_BYTES",
    "FREE_RATE",
    "LONGEST",
    "SHORTEST",
    "Planner",
    "Question",
    "has_ended",
    "pause",
]
