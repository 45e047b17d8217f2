"""Results and errors that are kept for later."""

from __future__ import annotations

from typing import NoReturn, TypeVar

T = TypeVar("T")


def same(value: T) -> T:
    """Return the value unchanged."""
    return value


def fail(error: BaseException) -> NoReturn:
    """Raise an error that was stored for later."""
    raise error


__all__ = ["fail", "same"]
