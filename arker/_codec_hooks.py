"""Hooks for single JSON values, and what some classes need done to their object before its fields are read. Pure."""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Callable
from typing import Any, Final, TypeGuard, cast

import attrs

Hook = Callable[[Any, Any], Any]

REQUIRED: Final = attrs.NOTHING
"""Stands for the default of a field that has none: null is an error there."""

_JSON_NAMES: Final[dict[type, str]] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    dict: "an object",
}


class Misfit(Exception):
    """A JSON value that does not fit its model.

    Attributes:
        problem: What is wrong, without quoting the value, which may be a secret.
        path: Where, from the root of the payload: ``$.vms[3].sessions[0].cwd``.
    """

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(problem, path)
        self.problem = problem
        self.path = path


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Whether a JSON value is an array."""
    return isinstance(value, list)


def json_type(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "an array"
    return _JSON_NAMES.get(type(value), type(value).__name__)


def mismatch(expected: str, value: object) -> Misfit:
    return Misfit(f"expected {expected}, got {json_type(value)}")


# --- hooks for the values of fields ----------------------------------------------------------------------------------


def exactly(wanted: type[Any], default: object) -> Hook:
    """Values of exactly one JSON type; null stands for the default where there is one."""
    expected = _JSON_NAMES[wanted]
    if default is REQUIRED:

        def required(value: Any, _: Any) -> Any:
            if value.__class__ is wanted:
                return value
            raise mismatch(expected, value)

        return required

    def optional(value: Any, _: Any) -> Any:
        if value.__class__ is wanted:
            return value
        if value is None:
            return default
        raise mismatch(expected, value)

    return optional


def number(default: object) -> Hook:
    def hook(value: Any, _: Any) -> Any:
        if value.__class__ is float or value.__class__ is int:
            return value
        if value is None and default is not REQUIRED:
            return default
        raise mismatch("a number", value)

    return hook


def string_map(default: object) -> Hook:
    def hook(value: Any, _: Any) -> Any:
        if value is None and default is not REQUIRED:
            return default
        if not is_object(value):
            raise mismatch("an object", value)
        for key, item in value.items():
            if item.__class__ is not str:
                raise Misfit(f"expected a string, got {json_type(item)}", step(key))
        return value

    return hook


def nullable_hook(hook: Hook, default: object) -> Hook:
    if default is REQUIRED:
        return hook
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # in the stubs a function
        make = cast("Callable[[], object]", default.factory)  # type: ignore[attr-defined]

        def fresh(value: Any, type_: Any) -> Any:
            return make() if value is None else hook(value, type_)

        return fresh

    def nullable(value: Any, type_: Any) -> Any:
        return default if value is None else hook(value, type_)

    return nullable


# --- what a class needs done to its object before its fields are read ------------------------------------------------


def _decode(obj: dict[str, Any], field: str, encoding_field: str) -> bytes:
    text, encoding = obj.get(field), obj.get(encoding_field)
    if not isinstance(text, str):
        raise Misfit("is missing" if field not in obj else f"expected a string, got {json_type(text)}", f".{field}")
    if not isinstance(encoding, str):
        problem = "is missing" if encoding_field not in obj else f"expected a string, got {json_type(encoding)}"
        raise Misfit(problem, f".{encoding_field}")
    if encoding in ("utf-8", "utf8"):
        return text.encode()
    if encoding == "base64":
        try:
            return _strict_base64(text)
        except ValueError as error:
            raise Misfit(f"is not base64 ({error})", f".{field}") from None
    raise Misfit("expected the encoding utf-8, utf8 or base64", f".{encoding_field}")


def _strict_base64(text: str) -> bytes:
    """Bytes of a base64 text in which nothing else stands; lenient decoders skip what is none."""
    if sys.version_info >= (3, 11):
        return binascii.a2b_base64(text, strict_mode=True)
    return base64.b64decode(text, validate=True)


def with_outputs(obj: dict[str, Any]) -> dict[str, Any]:
    return {
        **obj,
        "stdout": _decode(obj, "stdout", "stdout_encoding"),
        "stderr": _decode(obj, "stderr", "stderr_encoding"),
    }


def with_content(obj: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "content": _decode(obj, "content", "encoding")}


def with_vm_id(obj: dict[str, Any]) -> dict[str, Any]:
    # Older servers call it `id`.
    if obj.get("vm_id") is None and "id" in obj:
        return {**obj, "vm_id": obj["id"]}
    return obj


def step(name: str) -> str:
    return f".{name}" if name.isidentifier() else f"[{name!r}]"
