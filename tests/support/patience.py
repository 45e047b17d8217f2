"""Times that a test lets run out."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

T = TypeVar("T", int, float)

PATIENCE: Final = 120.0
"""Seconds after which a test has failed that waits for something; more than any of it takes on a busy machine."""


class Growing(Generic[T]):
    """A time that runs out, and then longer ones.

    What a test does may have to get somewhere before its time runs out, which a busy machine does not allow it in a
    time that is short enough for a quiet one. A test tries it in the next time until it has got there.

    Args:
        seconds: The first time.
    """

    def __init__(self, seconds: T) -> None:
        self._times: list[T] = [64 * seconds, 8 * seconds, seconds]

    def next(self) -> T:
        """Return the next time. The test fails if the longest was too short as well."""
        assert self._times, "it has not got there in the longest time either"
        return self._times.pop()


__all__ = ["PATIENCE", "Growing"]
