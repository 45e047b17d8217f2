"""The one converter between JSON values and models.

Tolerant of what a newer or older server sends: unknown fields are ignored, unknown values of enumerations kept, absent
or null optional fields take their default, null lists are empty. Honest about the rest: a wrong type or a missing
indispensable field is a `Misfit` that says where, and nothing is coerced (``"false"`` is no boolean, ``7`` no string).
"""

from __future__ import annotations

import base64
import binascii
import sys
import threading
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Final, Literal, TypeGuard, TypeVar, Union, cast, get_args, get_origin

import attrs
import orjson
from cattrs import BaseConverter, Converter
from cattrs.errors import ClassValidationError, IterableValidationError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from arker.models import (
    CompletedRunResult,
    NetworkPolicyAllow,
    NetworkPolicyBlock,
    NetworkPolicyBlocked,
    NetworkPolicyOpen,
    NetworkPolicyUnknown,
    Run,
    SyncChunkWrite,
    SyncReadInlineResponse,
    Vm,
)

T = TypeVar("T")
Hook = Callable[[Any, Any], Any]

_REQUIRED: Final = attrs.NOTHING
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


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "an array"
    return _JSON_NAMES.get(type(value), type(value).__name__)


def _misfit(expected: str, value: object) -> Misfit:
    return Misfit(f"expected {expected}, got {_json_type(value)}")


# --- hooks for the values of fields ----------------------------------------------------------------------------------


def _exactly(wanted: type[Any], default: object) -> Hook:
    """Values of exactly one JSON type; null stands for the default where there is one."""
    expected = _JSON_NAMES[wanted]
    if default is _REQUIRED:

        def required(value: Any, _: Any) -> Any:
            if value.__class__ is wanted:
                return value
            raise _misfit(expected, value)

        return required

    def optional(value: Any, _: Any) -> Any:
        if value.__class__ is wanted:
            return value
        if value is None:
            return default
        raise _misfit(expected, value)

    return optional


def _number(default: object) -> Hook:
    def hook(value: Any, _: Any) -> Any:
        if value.__class__ is float or value.__class__ is int:
            return value
        if value is None and default is not _REQUIRED:
            return default
        raise _misfit("a number", value)

    return hook


def _string_map(default: object) -> Hook:
    def hook(value: Any, _: Any) -> Any:
        if value is None and default is not _REQUIRED:
            return default
        if not is_object(value):
            raise _misfit("an object", value)
        for key, item in value.items():
            if item.__class__ is not str:
                raise Misfit(f"expected a string, got {_json_type(item)}", _step(key))
        return value

    return hook


def _nullable(hook: Hook, default: object) -> Hook:
    if default is _REQUIRED:
        return hook

    def nullable(value: Any, type_: Any) -> Any:
        return default if value is None else hook(value, type_)

    return nullable


def _default_of(field: attrs.Attribute[Any]) -> object:
    """The value that null stands for; a default made by a factory is not used by any model that is received."""
    return field.default


# --- what a class needs done to its object before its fields are read ------------------------------------------------


def _decode(obj: dict[str, Any], field: str, encoding_field: str) -> bytes:
    text, encoding = obj.get(field), obj.get(encoding_field)
    if not isinstance(text, str):
        raise Misfit("is missing" if field not in obj else f"expected a string, got {_json_type(text)}", f".{field}")
    if not isinstance(encoding, str):
        problem = "is missing" if encoding_field not in obj else f"expected a string, got {_json_type(encoding)}"
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


def _outputs(obj: dict[str, Any]) -> dict[str, Any]:
    return {
        **obj,
        "stdout": _decode(obj, "stdout", "stdout_encoding"),
        "stderr": _decode(obj, "stderr", "stderr_encoding"),
    }


def _content(obj: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "content": _decode(obj, "content", "encoding")}


def _vm(obj: dict[str, Any]) -> dict[str, Any]:
    # Older servers call it `id`.
    if obj.get("vm_id") is None and "id" in obj:
        return {**obj, "vm_id": obj["id"]}
    return obj


_PREPARE: Final[dict[type, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    Vm: _vm,
    Run: _outputs,
    CompletedRunResult: _outputs,
    SyncReadInlineResponse: _content,
}

_POLICIES: Final[dict[str, type]] = {
    "open": NetworkPolicyOpen,
    "blocked": NetworkPolicyBlocked,
    "allow": NetworkPolicyAllow,
    "block": NetworkPolicyBlock,
}


# --- the converter ---------------------------------------------------------------------------------------------------


def _is_policy_union(members: tuple[Any, ...]) -> bool:
    return NetworkPolicyUnknown in members


def _field_hook(converter: Converter, type_: Any, default: object) -> Hook:
    """The hook for a field of a type; ``default`` is what null stands for, `_REQUIRED` where null is an error."""
    if type_ in (str, int, bool):
        return _exactly(type_, default)
    if type_ is float:
        return _number(default)
    if type_ is bytes or type_ is Any or type_ is object:
        return _pass  # outputs have been decoded by then; opaque values are kept as they came
    origin = get_origin(type_)
    if origin is Literal:
        return _exactly(str, default)
    if origin is Union or origin is UnionType:
        members = [member for member in get_args(type_) if member is not type(None)]
        if len(members) < len(get_args(type_)) and default is _REQUIRED:
            default = None
        if _is_policy_union(tuple(members)):
            return _nullable(_policy_hook(converter), default)
        if all(member is str or get_origin(member) is Literal for member in members):
            return _exactly(str, default)  # an open enumeration: unknown values are kept
        if len(members) == 1:
            return _field_hook(converter, members[0], default)
        raise TypeError(f"no rule for the union {type_!r}")
    if origin is tuple:
        return _nullable(_array_hook(converter, get_args(type_)[0]), default)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _string_map(default) if get_args(type_)[1] is str else _exactly(dict, default)
    if attrs.has(type_):
        return _nullable(converter.get_structure_hook(type_), default)
    raise TypeError(f"no rule for {type_!r}")


def _pass(value: Any, _: Any) -> Any:
    return value


def _array_hook(converter: Converter, member: Any) -> Hook:
    type_ = tuple[member, ...]
    if not attrs.has(member):
        element = _field_hook(converter, member, _REQUIRED)

        def plain(value: Any, _: Any) -> Any:
            if value.__class__ is not list:
                raise _misfit("an array", value)
            return tuple([_at(index, element, item, member) for index, item in enumerate(value)])

        return plain
    inner = converter.get_structure_hook(type_)

    def hook(value: Any, _: Any) -> Any:
        if value.__class__ is not list:
            raise _misfit("an array", value)
        return inner(value, type_)

    return hook


def _at(index: int, hook: Hook, value: Any, type_: Any) -> Any:
    try:
        return hook(value, type_)
    except Misfit as misfit:
        raise Misfit(misfit.problem, f"[{index}]{misfit.path}") from None


def _policy_hook(converter: Converter) -> Hook:
    def hook(value: Any, _: Any) -> Any:
        if value.__class__ is not dict:
            raise _misfit("an object", value)
        kind = value.get("type")
        if kind.__class__ is not str:
            raise Misfit("is missing" if "type" not in value else f"expected a string, got {_json_type(kind)}", ".type")
        cls = _POLICIES.get(kind)
        if cls is None:
            return NetworkPolicyUnknown(type=kind, raw=value)
        return converter.get_structure_hook(cls)(value, cls)

    return hook


def _class_hook(cls: type, converter: BaseConverter) -> Hook:
    assert isinstance(converter, Converter)
    resolved = cast("type[attrs.AttrsInstance]", attrs.resolve_types(cast("Any", cls)))
    overrides: dict[str, Any] = {
        field.name: override(struct_hook=_field_hook(converter, field.type, _default_of(field)))
        for field in attrs.fields(resolved)
        if field.init
    }
    fill = cast("Hook", make_dict_structure_fn(cls, converter, **overrides))
    prepare = _PREPARE.get(cls)

    def structure(value: Any, type_: Any) -> Any:
        if value.__class__ is not dict:
            raise _misfit("an object", value)
        return fill(value if prepare is None else prepare(value), type_)

    return structure


def _omit_none(cls: type, converter: BaseConverter) -> Callable[[Any], Any]:
    resolved = cast("type[attrs.AttrsInstance]", attrs.resolve_types(cast("Any", cls)))
    overrides: dict[str, Any] = {
        field.name: override(omit_if_default=True) for field in attrs.fields(resolved) if field.default is None
    }
    return cast(
        "Callable[[Any], Any]",
        make_dict_unstructure_fn(cls, converter, _cattrs_include_init_false=True, **overrides),
    )


def _chunk(write: SyncChunkWrite) -> dict[str, Any]:
    # The base64 alphabet needs no escaping, so the text goes into the body as it is.
    content = binascii.b2a_base64(write.content, newline=False)
    entry: dict[str, Any] = {
        "path": write.path,
        "size": write.size,
        "upload_id": write.upload_id,
        "content": orjson.Fragment(b'"%b"' % content),
        "start": write.start,
        "end": write.end,
    }
    if write.sha256 is not None:
        entry["sha256"] = write.sha256
    return entry


def _make_converter(*, detailed: bool) -> Converter:
    converter = Converter(detailed_validation=detailed)
    converter.register_structure_hook_factory(attrs.has, _class_hook)
    converter.register_unstructure_hook_factory(attrs.has, _omit_none)
    converter.register_unstructure_hook(SyncChunkWrite, _chunk)
    converter.register_unstructure_hook(NetworkPolicyUnknown, lambda policy: {**policy.raw, "type": policy.type})
    return converter


_fast = _make_converter(detailed=False)
_lock = threading.RLock()
_hooks: dict[Any, Hook] = {}


def _hook(cls: Any) -> Hook:
    hook = _hooks.get(cls)
    if hook is None:
        # Building the functions of a class is not thread-safe, and two event loops may live in two threads.
        with _lock:
            hook = _hooks[cls] = _fast.get_structure_hook(cls)
    return hook


def structure(value: object, cls: type[T]) -> T:
    """The model that a JSON value stands for; raises `Misfit`."""
    try:
        return cast("T", _hook(cls)(value, cls))
    except (Misfit, KeyError, TypeError, ValueError, AttributeError) as error:
        # The fast way does not say where; the second way does.
        raise _locate(value, cls, error) from None


def unstructure(value: object) -> Any:
    """The JSON value of a request; members that are None are left out, at every depth."""
    with _lock:
        return _fast.unstructure(value)


def dumps(value: object) -> bytes:
    """The JSON text of a request."""
    return orjson.dumps(unstructure(value))


# --- saying where ----------------------------------------------------------------------------------------------------


def _step(name: str) -> str:
    return f".{name}" if name.isidentifier() else f"[{name!r}]"


def _locate(value: object, cls: type, error: Exception) -> Misfit:
    with _lock:
        try:
            _make_converter(detailed=True).structure(value, cls)
        except Exception as detailed:
            path, cause = _descend(detailed)
        else:
            path, cause = "", error
    if isinstance(cause, Misfit):
        return Misfit(cause.problem, f"${path}{cause.path}")
    if isinstance(cause, KeyError):
        return Misfit("is missing", f"${path}")
    return Misfit(f"does not fit {cls.__name__} ({type(cause).__name__})", f"${path}")


def _descend(error: BaseException) -> tuple[str, BaseException]:
    """The path to the first thing that is wrong, and what is."""
    path = ""
    while isinstance(error, (ClassValidationError, IterableValidationError)):
        noted, others = error.group_exceptions()
        if not noted:
            return path, others[0]
        error, note = noted[0]
        name = getattr(note, "name", None)
        path += _step(name) if name is not None else f"[{getattr(note, 'index', '?')}]"
    return path, error
