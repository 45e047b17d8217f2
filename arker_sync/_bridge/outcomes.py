"""Results and errors that are kept for later."""

from __future__ import annotations

from typing import Final, NoReturn, TypeVar

T = TypeVar("T")


def same(value: T) -> T:
    """Return the value unchanged."""
    return value


class Failure:
    """An error that is kept for later. It is raised once: kept any longer, its own traceback would lead to it."""

    __slots__ = ("_errors",)

    def __init__(self, error: BaseException) -> None:
        self._errors: Final = [error]

    def __call__(self) -> NoReturn:
        """Raise the error."""
        raise self._errors.pop()


__all__ = ["Failure", "same"]
