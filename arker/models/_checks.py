"""Checks of callers' arguments, as attrs validators of the request classes and as plain functions.

Each raises an `InvalidArgumentError` with the argument, the value and the expected value.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeGuard

import attrs

from arker.errors import InvalidArgumentError

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]

MAX_INTEGER: Final = 2**63 - 1
"""The largest integer that servers accept in JSON."""

MAX_VCPUS: Final = 255
"""CPUs of a VM."""

MAX_DESCRIPTION: Final = 1024
"""Characters of a VM's description."""


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    return isinstance(value, Mapping)


def is_array(value: object) -> TypeGuard[Collection[object]]:
    """Return whether the value is a collection that can be sent as a list; a string is not."""
    return isinstance(value, (list, tuple, set, frozenset))


def check_text(argument: str, value: object, *, what: str = "a non-empty string") -> str:
    """Check a string: not blank and without NUL, which no path, name or command can contain."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise InvalidArgumentError(argument, value, f"expected {what}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError(argument, value, f"expected {what}, without lone surrogates") from None
    return value


_OF_A_USER: Final = re.compile(r"~[a-z_][a-z0-9_-]*/")
"""A path prefix that a shell expands to another user's home directory. (A file may be named ``~$report.docx``.)"""


def from_home(argument: str, path: str) -> str:
    """Strip a leading ``~/`` from a path in the VM: relative paths start at the home directory."""
    if path == "~":
        return "."
    if path.startswith("~/"):
        return path[2:].lstrip("/") or "."
    if _OF_A_USER.match(path):
        name = path.partition("/")[0]
        expected = f"expected ~/… for the home directory, an absolute path, or ./{path} for a directory named {name}"
        raise InvalidArgumentError(argument, path, expected)
    return path


def is_string(value: object) -> TypeGuard[str]:
    """Return whether the value is a string without NUL and lone surrogates. It may be empty or blank."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_id(argument: str, value: object) -> str:
    """Check an id for use in a URL path: not empty, not ``.``, not ``..`` (contract, section 3)."""
    text = check_text(argument, value, what="a non-empty id")
    if text in {".", ".."}:
        raise InvalidArgumentError(argument, value, "expected an id; '.' and '..' are none")
    return text


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def check_seconds(argument: str, value: object, *, allow_zero: bool = False) -> float:
    """Check a finite number of seconds above zero, or of zero if ``allow_zero``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
        raise InvalidArgumentError(argument, value, "expected a number of seconds, or None for no bound")
    if value < 0 or (value == 0 and not allow_zero):
        bound = "zero or more" if allow_zero else "more than zero"
        raise InvalidArgumentError(argument, value, f"expected {bound} seconds, or None for no bound")
    return float(value)


def check_integer(
    argument: str, value: object, *, minimum: int, maximum: int | None = None, what: str = "an integer"
) -> int:
    """Check an integer of at least ``minimum`` that fits into 64 bits, or is at most ``maximum``. Booleans are
    rejected.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        bound = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise InvalidArgumentError(argument, value, f"expected {what} {bound}")
    if maximum is not None and value > maximum:
        raise InvalidArgumentError(argument, value, f"expected {what} from {minimum} to {maximum}")
    if value > MAX_INTEGER:
        raise InvalidArgumentError(argument, value, f"expected {what} of at most {MAX_INTEGER}")
    return value


def check_vcpus(argument: str, value: object) -> int:
    """Check a number of CPUs, which is one byte for servers (contract-1, section 5)."""
    return check_integer(argument, value, minimum=1, maximum=MAX_VCPUS)


def check_whole_seconds(argument: str, value: object, *, most: int | None = None) -> int:
    """Check a number of seconds of zero or more, and round a fraction up: the API takes whole ones."""
    seconds = math.ceil(check_seconds(argument, value, allow_zero=True))
    if most is not None and seconds > most:
        raise InvalidArgumentError(argument, value, f"expected at most {most} seconds")
    return seconds


def check_description(argument: str, value: object) -> str:
    """Check a description: up to 1,024 characters, or none to have no description."""
    if not is_string(value):
        raise InvalidArgumentError(argument, value, "expected a string, without NUL")
    if len(value) > MAX_DESCRIPTION:
        raise InvalidArgumentError(argument, value, f"expected at most {MAX_DESCRIPTION:,} characters")
    return value


def check_boolean(argument: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidArgumentError(argument, value, "expected True or False")
    return value


def check_idempotency_key(argument: str, value: object) -> str:
    """Check an idempotency key: 1 to 64 printable ASCII characters, without spaces at the ends, which HTTP strips."""
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= 64
        or not all(" " <= char <= "~" for char in value)
        or value != value.strip()
    ):
        raise InvalidArgumentError(
            argument, value, "expected 1 to 64 printable ASCII characters, without spaces at the ends"
        )
    return value


def query_statuses(argument: str, value: object) -> str | list[str] | None:
    """Check an optional query parameter that is one or several HTTP statuses, as numbers or strings."""
    if value is None:
        return None
    if not is_array(value):
        return _status(argument, value)
    if not value:
        raise InvalidArgumentError(argument, value, "expected an HTTP status, or a list of them")
    return [_status(f"{argument}[{index}]", item) for index, item in enumerate(value)]


def _status(argument: str, value: object) -> str:
    if isinstance(value, str):
        return check_text(argument, value, what="an HTTP status, or a list of them")
    return str(check_integer(argument, value, minimum=0, what="an HTTP status, or a list of them"))


def _validator(check: Callable[[str, object], object]) -> Validator:
    def validate(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        check(attribute.name, value)

    return validate


def optional(validator: Validator) -> Validator:
    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None:
            validator(instance, attribute, value)

    return validate


def at_least(minimum: int) -> Callable[[str, Any], int]:
    """Return a function that checks an integer."""
    return functools.partial(check_integer, minimum=minimum)


def check_name(argument: str, value: object) -> str:
    """Check a name of something: not blank and without NUL."""
    return check_text(argument, value, what="a non-empty name")


def check_given(request: object, checks: Mapping[str, Callable[[str, Any], object]]) -> None:
    """Check those fields of a frozen request that are not None, and set what their functions return."""
    for name, check in checks.items():
        value: object = getattr(request, name)
        if value is not None:
            object.__setattr__(request, name, check(name, value))


text: Validator = _validator(check_text)
identifier: Validator = _validator(check_id)
boolean: Validator = _validator(check_boolean)
seconds: Validator = _validator(check_seconds)
description: Validator = _validator(check_description)
duration: Validator = _validator(lambda argument, value: check_seconds(argument, value, allow_zero=True))
name: Validator = _validator(check_name)
vcpus: Validator = _validator(check_vcpus)


def integer(minimum: int) -> Validator:
    return _validator(lambda argument, value: check_integer(argument, value, minimum=minimum))


def check_one_of(argument: str, value: object, allowed: Collection[str]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise InvalidArgumentError(argument, value, f"expected one of {', '.join(sorted(allowed))}")
    return value


def one_of(allowed: Collection[str]) -> Validator:
    return _validator(lambda argument, value: check_one_of(argument, value, allowed))


def instance_of(cls: type, what: str) -> Validator:
    def check(argument: str, value: object) -> None:
        if not isinstance(value, cls):
            raise InvalidArgumentError(argument, value, f"expected {what}")

    return _validator(check)


def only_keys(argument: str, value: object, allowed: Collection[str]) -> Mapping[str, Any]:
    """Check a mapping whose keys must all be among ``allowed``."""
    if not is_mapping(value):
        raise InvalidArgumentError(argument, value, f"expected a mapping with keys among {', '.join(sorted(allowed))}")
    known: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str) or key not in allowed:
            raise InvalidArgumentError(
                f"{argument}[{key!r}]", item, f"unknown key; expected {', '.join(sorted(allowed))}"
            )
        known[key] = item
    return known


def check_function_of_item(value: object) -> None:
    """Refuse what cannot be called with a VM and an item, as the argument ``function``.

    What does not tell its parameters is taken: it may take them.
    """
    expected = "expected a function of a VM and an item"
    if not callable(value):
        raise InvalidArgumentError("function", value, expected)
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None, None)
    except TypeError:
        raise InvalidArgumentError("function", value, f"{expected}: it is called with both") from None


def check_function(argument: str, value: object) -> None:
    """Refuse what cannot be called with an event, or would have to be awaited; None is a function that is not there."""
    if value is None:
        return
    if not callable(value):
        raise InvalidArgumentError(argument, value, "expected a function of one argument, or None")
    function: Any = value
    while isinstance(function, functools.partial):
        function = function.func
    for candidate in (function, getattr(function, "__call__", None)):  # noqa: B004 - its code, not whether it has any
        if inspect.iscoroutinefunction(candidate) or inspect.isasyncgenfunction(candidate):
            raise InvalidArgumentError(
                argument, value, "expected an ordinary function: it is called, and its result is ignored"
            )


def query_text(argument: str, value: object) -> str | None:
    """Check an optional query parameter that is a string."""
    return None if value is None else check_text(argument, value)


def query_integer(argument: str, value: object) -> int | None:
    """Check an optional query parameter that is an integer of at least 0."""
    return None if value is None else check_integer(argument, value, minimum=0)


def query_limit(value: object) -> int | None:
    """Check an optional ``limit``: the size of a page."""
    return None if value is None else check_integer("limit", value, minimum=1)


def page_size(value: object) -> int | None:
    """Check an optional ``page_size``: the number of items per page."""
    return None if value is None else check_integer("page_size", value, minimum=1)


def query_list(argument: str, value: object) -> str | list[str] | None:
    """Check an optional query parameter that is one or several strings."""
    if value is None or isinstance(value, str):
        return query_text(argument, value)
    if not is_array(value) or not value:
        raise InvalidArgumentError(argument, value, "expected a string or a list of strings")
    return [check_text(f"{argument}[{index}]", item) for index, item in enumerate(value)]
