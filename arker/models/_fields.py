"""Fields of requests that are lists, mappings or other models: checked, converted, and made of mappings."""

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import attrs
from attrs import field

from arker.errors import InvalidArgumentError
from arker.models import _checks as check

T = TypeVar("T")

HIDDEN: Final = "***"
"""What servers show instead of a secret; errors show it instead of a value that may hold one."""


# Annotations are evaluated here, not postponed: as strings, those of converters would be looked up in the modules of
# the classes whose fields they convert.

_KEY: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check_key(argument: str, key: object, value: object) -> str:
    """Check the id of a rule or a key, which the caller chooses."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        expected = "expected an id of 1 to 64 of a-z, 0-9, '.', '_' and '-', the first a letter or a digit"
        raise InvalidArgumentError(argument, value, expected)
    return key


def converted(convert: Callable[[str, Any], Any], default: Any = None, *, repr: bool = True) -> Any:
    """Declare a field that is checked and converted. None is an absent one, unless the field is required.

    Args:
        convert: Takes the field's name and the value.
        default: The default; ``attrs.NOTHING`` for none.
        repr: Whether the value is in the model's repr.
    """

    def converter(value: Any, attribute: "attrs.Attribute[Any]") -> Any:
        return None if value is None and default is None else convert(attribute.name, value)

    return cast("Any", field(default=default, converter=attrs.Converter(converter, takes_field=True), repr=repr))


def made(cls: type[T], argument: str, value: object, what: str, *, secret: bool = False) -> T:
    """Return an instance of a model. Of a mapping one is made, with the place in the mapping in its errors.

    Args:
        cls: The model.
        argument: The argument's name, for errors.
        value: The argument.
        what: What is expected, for errors.
        secret: Whether no error may show the value.
    """
    if isinstance(value, cls):
        return value
    fields = [each for each in attrs.fields(cast("type[attrs.AttrsInstance]", cls)) if each.name != "misfits"]
    names = [each.name for each in fields]
    expected = f"expected {what}, or a mapping with keys among {', '.join(names)}"
    if not check.is_mapping(value):
        raise InvalidArgumentError(argument, HIDDEN if secret else value, expected)
    unknown = [str(key) for key in value if key not in names]
    missing = [each.name for each in fields if each.default is attrs.NOTHING and each.name not in value]
    if unknown or missing:
        problem = f"{', '.join(unknown)} is unknown" if unknown else f"{', '.join(missing)} is missing"
        raise InvalidArgumentError(argument, sorted(map(str, value)), f"{expected}; {problem}")
    try:
        return cls(**{str(name): each for name, each in value.items()})
    except InvalidArgumentError as error:
        name, bracket, rest = error.argument.partition("[")
        raise InvalidArgumentError(f"{argument}[{name!r}]{bracket}{rest}", error.value, error.expected) from None


def instance(cls: type[T], what: str) -> Callable[[str, object], T]:
    """Return a converter to a model."""

    def convert(argument: str, value: object) -> T:
        return made(cls, argument, value, what)

    return convert


def texts(argument: str, value: object, *, what: str = "a non-empty string") -> tuple[str, ...]:
    """Check a list of strings that is not empty."""
    if not check.is_array(value) or not value:
        raise InvalidArgumentError(argument, value, f"expected a list, each of it {what}")
    return tuple(check.check_text(f"{argument}[{index}]", each, what=what) for index, each in enumerate(value))


def choices(*allowed: str) -> Callable[[str, object], tuple[str, ...]]:
    """Return a check of a list of some of these."""

    def convert(argument: str, value: object) -> tuple[str, ...]:
        found = texts(argument, value, what=f"one of {', '.join(allowed)}")
        return tuple(check.check_one_of(f"{argument}[{index}]", each, allowed) for index, each in enumerate(found))

    return convert


def _port(argument: str, value: object) -> int:
    number = check.check_integer(argument, value, minimum=1, what="a port number")
    if number > 65535:
        raise InvalidArgumentError(argument, value, "expected a port number from 1 to 65535")
    return number


def ports(argument: str, value: object) -> tuple[int | tuple[int, int], ...]:
    """Check a list of ports and ranges of ports."""
    if not check.is_array(value) or not value:
        raise InvalidArgumentError(argument, value, "expected a list of port numbers and of ranges (first, last)")
    found: list[int | tuple[int, int]] = []
    for index, each in enumerate(value):
        where = f"{argument}[{index}]"
        if not check.is_array(each):
            found.append(_port(where, each))
            continue
        ends = [_port(where, end) for end in each]
        if len(ends) != 2 or ends[0] > ends[1]:
            raise InvalidArgumentError(where, each, "expected a range of two ports, the lower one first")
        found.append((ends[0], ends[1]))
    return tuple(found)


def lists(argument: str, value: object) -> dict[str, tuple[str, ...]]:
    """Check a mapping of names to lists of strings."""
    if not check.is_mapping(value):
        raise InvalidArgumentError(argument, value, "expected a mapping of names to lists of values")
    return {
        check.check_text(argument, name, what="names that are not empty"): texts(f"{argument}[{name!r}]", each)
        for name, each in value.items()
    }


def strings(argument: str, value: object) -> dict[str, str]:
    """Check a mapping of names to strings, which no error shows."""
    if not check.is_mapping(value):
        raise InvalidArgumentError(argument, HIDDEN, "expected a mapping of names to strings")
    found: dict[str, str] = {}
    for name, text in value.items():
        if not check.is_string(text):
            raise InvalidArgumentError(f"{argument}[{name!r}]", HIDDEN, "expected a string without NUL")
        found[check.check_text(argument, name, what="names that are not empty")] = text
    return found


def statuses(argument: str, value: object) -> tuple[int, ...]:
    """Check a list of HTTP statuses that is not empty."""
    if not check.is_array(value) or not value:
        raise InvalidArgumentError(argument, value, "expected a list of HTTP statuses")
    what = "an HTTP status"
    found = [
        check.check_integer(f"{argument}[{index}]", each, minimum=0, what=what) for index, each in enumerate(value)
    ]
    if max(found) > 65535:
        raise InvalidArgumentError(argument, value, "expected HTTP statuses")
    return tuple(found)


__all__ = [
    "HIDDEN", "check_key", "choices", "converted", "instance", "lists", "made", "ports", "statuses", "strings", "texts",
]  # fmt: skip
