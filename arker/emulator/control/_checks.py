"""Checks of the members of a fault's rule, as attrs's validators."""

from __future__ import annotations

import math
import re
from typing import Any, Final, TypeAlias

import attrs

from arker.errors import InvalidArgumentError

Attribute: TypeAlias = "attrs.Attribute[Any]"

BODY_MAXIMUM: Final = 1024 * 1024
"""The maximum number of characters in a reply that a fault makes up."""
_NUMBER_MAXIMUM: Final = 2**53
_SECONDS_MAXIMUM: Final = 86400.0


def matching(pattern: str, expected: str) -> Any:
    compiled = re.compile(pattern, re.DOTALL)

    def check(_: Any, attribute: Attribute, value: object) -> None:
        if value is not None and (not isinstance(value, str) or not compiled.fullmatch(value)):
            raise InvalidArgumentError(attribute.name, value, f"expected {expected}")

    return check


def integer(minimum: int, maximum: int = _NUMBER_MAXIMUM, *, optional: bool = True) -> Any:
    def check(_: Any, attribute: Attribute, value: object) -> None:
        right = isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum
        if not right and (value is not None or not optional):
            raise InvalidArgumentError(attribute.name, value, f"expected an integer from {minimum} to {maximum}")

    return check


def _finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def seconds(_: Any, attribute: Attribute, value: Any) -> None:
    if not _finite(value) or not 0 <= value <= _SECONDS_MAXIMUM:
        raise InvalidArgumentError(attribute.name, value, f"expected seconds from 0 to {_SECONDS_MAXIMUM:g}")


def share(_: Any, attribute: Attribute, value: Any) -> None:
    if value is not None and (not _finite(value) or not 0 < value <= 1):
        raise InvalidArgumentError(attribute.name, value, "expected a number above 0, at most 1")


def fraction(_: Any, attribute: Attribute, value: Any) -> None:
    if not _finite(value) or not 0 <= value < 1:
        raise InvalidArgumentError(attribute.name, value, "expected a number from 0 to below 1")


def rate(_: Any, attribute: Attribute, value: Any) -> None:
    if not _finite(value) or not 1 <= value <= 1e12:
        raise InvalidArgumentError(attribute.name, value, "expected bytes per second, at least 1")


def boolean(_: Any, attribute: Attribute, value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidArgumentError(attribute.name, value, "expected true or false")


_DATE = matching(r"[ -~]{1,100}", "a number of seconds, or an HTTP date")


def retry_after(_: Any, attribute: Attribute, value: Any) -> None:
    if isinstance(value, str) or value is None:
        _DATE(_, attribute, value)
    elif not _finite(value) or not 0 <= value <= _NUMBER_MAXIMUM:
        raise InvalidArgumentError(attribute.name, value, "expected a number of seconds, or an HTTP date")


def body(_: Any, attribute: Attribute, value: object) -> None:
    if not isinstance(value, str) or len(value) > BODY_MAXIMUM or any("\ud800" <= mark <= "\udfff" for mark in value):
        raise InvalidArgumentError(attribute.name, value, f"expected text of at most {BODY_MAXIMUM} characters")


__all__ = [
    "BODY_MAXIMUM",
    "Attribute",
    "body",
    "boolean",
    "fraction",
    "integer",
    "matching",
    "rate",
    "retry_after",
    "seconds",
    "share",
]
