"""The decision whether and when to retry, as a pure function of what happened (contract, section 3)."""

from __future__ import annotations

import enum
from typing import Final

from arker.config import RetryPolicy

MAX_RETRY_AFTER: Final = 60.0
"""Seconds; a server that asks for more gets no further attempt."""


class Failure(enum.Enum):
    """The kind of an attempt's failure."""

    NOT_SENT = "not sent"
    """Nothing reached the server."""
    LOST = "lost"
    """The request may have been processed; no answer came."""
    BUSY = "busy"
    """The server answered that the same request may succeed later, and has not processed it."""
    UNCERTAIN = "uncertain"
    """An answer says that the same request may succeed later, but not that it was not processed."""
    REFUSED = "refused"
    """The server answered, and would answer the same again."""


def next_delay(
    policy: RetryPolicy,
    failure: Failure,
    *,
    failures: int,
    may_repeat_lost: bool,
    retry_after: float | None,
    random: float,
) -> float | None:
    """Return the seconds to wait before the next attempt, or None to give up.

    Args:
        policy: The policy.
        failure: How the last attempt failed.
        failures: The number of failed attempts, including the last one.
        may_repeat_lost: Whether the request may be sent again although it may have been processed.
        retry_after: The server's requested delay in seconds.
        random: A random number from 0 to 1.
    """
    if failures >= policy.attempts or failure is Failure.REFUSED:
        return None
    if failure in (Failure.LOST, Failure.UNCERTAIN) and not may_repeat_lost:
        return None
    if retry_after is not None:
        return retry_after if retry_after <= MAX_RETRY_AFTER else None
    return policy.delay(failures, random)


__all__ = ["MAX_RETRY_AFTER", "Failure", "next_delay"]
