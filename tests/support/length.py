"""How much is tried of what takes long: a choice in the suite, everything with ``--whole`` (``nox -s whole``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


class _Length:
    """Known before the first module of tests is imported, since their decorators ask for it."""

    whole = False


def set_whole(whole: bool) -> None:
    """Say once, before any test is collected, whether everything is wanted."""
    _Length.whole = whole


def times(whole: int, *, suite: int) -> int:
    """Return a number of examples, rounds or VMs."""
    return whole if _Length.whole else suite


def cases(suite: Iterable[T], *, rest: Iterable[T]) -> list[T]:
    """Return a test's cases; ``rest``, other combinations of the same paths, only in a whole run."""
    return [*suite, *rest] if _Length.whole else [*suite]


__all__ = ["cases", "set_whole", "times"]
