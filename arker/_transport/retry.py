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
    patience: float | None = None,
) -> float | None:
    """Return the seconds to wait before the next attempt, or None to give up.

    Args:
        policy: The policy.
        failure: How the last attempt failed.
        failures: The number of failed attempts, including the last one.
        may_repeat_lost: Whether the request may be sent again without an answer, although it may have been processed.
        retry_after: The server's requested delay in seconds.
        random: A random number from 0 to 1.
        patience: Seconds within which any number of attempts may be made; None for the policy's number.
    """
    if failure is Failure.REFUSED or policy.attempts == 1:
        return None
    if failure is Failure.LOST and not may_repeat_lost:
        return None
    computed = policy.delay(failures, random)
    delay = computed if retry_after is None else retry_after
    if patience is not None:
        if delay < policy.base_delay:
            delay = computed  # as many attempts at once as a server can refuse would be a storm
        return delay if delay <= patience else None
    if failures >= policy.attempts or (retry_after is not None and retry_after > MAX_RETRY_AFTER):
        return None
    return delay


__all__ = ["MAX_RETRY_AFTER", "Failure", "next_delay"]
