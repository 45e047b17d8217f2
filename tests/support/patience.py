"""Times that a test lets run out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

PATIENCE: Final = 60.0
"""Seconds after which a test has failed that waits for something; more than any of it takes on a busy machine."""


def growing(seconds: float) -> Iterator[float]:
    """Yield a time that runs out, and then longer ones.

    What a test does may have to get somewhere before its time runs out, which a busy machine does not allow it in a
    time that is short enough for a quiet one. A test leaves the loop as soon as it got there, and checks that
    afterwards: it fails if the longest time was too short as well.
    """
    yield from (seconds, 8 * seconds, 64 * seconds)


__all__ = ["PATIENCE", "growing"]
