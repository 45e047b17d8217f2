"""The rules for cattrs: how each type is read and written. Loaded at the first request.

Models of files and filesystems are named here as texts, since most programs never need them: making their classes is a
sixth of a first request's work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import UnionType
from typing import Any, Final, Literal, TypeAlias, Union, cast, get_args, get_origin

import attrs
import pybase64
from cattrs import BaseConverter, Converter
from cattrs.errors import ClassValidationError, IterableValidationError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from arker import models
from arker._protocol.codec.filling import can_fill, written
from arker._protocol.codec.hooks import (
    REQUIRED,
    Hook,
    Misfit,
    exactly,
    is_array,
    is_object,
    json_type,
    kept,
    mismatch,
    nullable_hook,
    number,
    step,
    string_map,
    with_content,
    with_mount_fields,
    with_mounts,
    with_outputs,
    with_sync_fields,
    with_syncs,
    with_vm_fields,
)
from arker.models import (
    NetworkPolicyAllow,
    NetworkPolicyBlock,
    NetworkPolicyBlocked,
    NetworkPolicyOpen,
    NetworkPolicyUnknown,
)
from arker.models._reply import DECLARED, NULLABLE, Reply

_POLICIES: Final[dict[str, type]] = {
    "open": NetworkPolicyOpen,
    "blocked": NetworkPolicyBlocked,
    "allow": NetworkPolicyAllow,
    "block": NetworkPolicyBlock,
}
Prepare: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
PREPARE: Final[dict[str, Prepare]] = {
    "Vm": with_vm_fields,
    "Mount": with_mount_fields,
    "Sync": with_sync_fields,
    "ListMountsResponse": with_mounts,
    "ListSyncsResponse": with_syncs,
    "Run": with_outputs,
    "CompletedRunResult": with_outputs,
    "SyncReadInlineResponse": with_content,
}
"""What is done with the objects of models before their fields are read."""
WRITE_RESULT: Final = "SyncCommitWriteResult"
CHUNK: Final = "SyncChunkWrite"
"""Of the results of a write the plainest one, and of the entries of a write the one with bytes."""


def field_hook(converter: Converter, type_: Any, default: object) -> Hook:
    """Return the hook for a field of a type.

    ``default`` is the value for null, or `REQUIRED` where null is an error.
    """
    if type_ in (str, int, bool):
        return exactly(type_, default)
    if type_ is float:
        return number(default)
    if type_ is bytes or type_ is Any or type_ is object:
        return kept  # outputs have been decoded by then; opaque values are kept as they came
    origin = get_origin(type_)
    if origin is Literal:
        return exactly(str, default)
    if origin is Union or origin is UnionType:
        members = [member for member in get_args(type_) if member is not type(None)]
        if len(members) < len(get_args(type_)) and default is REQUIRED:
            default = None
        if NetworkPolicyUnknown in members:
            return nullable_hook(_policy_hook(converter), default)
        if all(member is str or get_origin(member) is Literal for member in members):
            return exactly(str, default)  # an open enumeration: unknown values are kept
        if len(members) == 1:
            return field_hook(converter, members[0], default)
        raise TypeError(f"no rule for the union {type_!r}")
    if origin is tuple:
        # A null list is an empty one, also where the list itself is indispensable.
        return nullable_hook(_array_hook(converter, get_args(type_)[0]), () if default is REQUIRED else default)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping_hook(converter, get_args(type_)[1], default)
    if attrs.has(type_):
        return nullable_hook(converter.get_structure_hook(type_), default)
    raise TypeError(f"no rule for {type_!r}")


def _array_hook(converter: Converter, member: Any) -> Hook:
    type_ = tuple[member, ...]
    if not attrs.has(member) and get_origin(member) is not Union and get_origin(member) is not UnionType:
        element = field_hook(converter, member, REQUIRED)

        def plain(value: Any, _: Any) -> Any:
            if value.__class__ is not list:
                raise mismatch("an array", value)
            return tuple([_at(index, element, item, member) for index, item in enumerate(value)])

        return plain
    if not converter.detailed_validation:
        one = converter.get_structure_hook(member)

        def quick(value: Any, _: Any) -> Any:
            if value.__class__ is not list:
                raise mismatch("an array", value)
            return tuple([one(item, member) for item in value])

        return quick
    inner = converter.get_structure_hook(type_)

    def hook(value: Any, _: Any) -> Any:
        if value.__class__ is not list:
            raise mismatch("an array", value)
        return inner(value, type_)

    return hook


def _mapping_hook(converter: Converter, member: Any, default: object) -> Hook:
    if member is str:
        return string_map(default)
    if not attrs.has(member):
        return exactly(dict, default)
    inner = converter.get_structure_hook(dict[str, member])

    def hook(value: Any, _: Any) -> Any:
        if value.__class__ is not dict:
            raise mismatch("an object", value)
        return inner(value, dict[str, member])

    return nullable_hook(hook, default)


def _at(index: int, hook: Hook, value: Any, type_: Any) -> Any:
    try:
        return hook(value, type_)
    except Misfit as misfit:
        raise Misfit(misfit.problem, f"[{index}]{misfit.path}") from None


def _policy_hook(converter: Converter) -> Hook:
    def hook(value: Any, _: Any) -> Any:
        if value.__class__ is not dict:
            raise mismatch("an object", value)
        kind = value.get("type")
        if kind.__class__ is not str:
            raise Misfit("is missing" if "type" not in value else f"expected a string, got {json_type(kind)}", ".type")
        cls = _POLICIES.get(kind)
        if cls is None:
            return NetworkPolicyUnknown(type=kind, raw=value)
        return converter.get_structure_hook(cls)(value, cls)

    return hook


def model_name(type_: Any) -> str:
    """Return the name of a model; an empty one of any other type."""
    return type_.__name__ if isinstance(type_, type) and type_.__module__.startswith("arker.models.") else ""


def _is_write_result(type_: Any) -> bool:
    return any(model_name(member) == WRITE_RESULT for member in get_args(type_))


def _is_chunk(type_: Any) -> bool:
    return model_name(type_) == CHUNK


def _write_result_hook(converter: Converter) -> Hook:
    """Return the hook for results of a write. Their fields tell them apart; a failed one is the plainest kind."""

    def hook(value: Any, _: Any) -> Any:
        if value.__class__ is not dict:
            raise mismatch("an object", value)
        cls: type = models.SyncCommitWriteResult
        if value.get("error") is None and "presigned_url" in value:
            cls = models.SyncPresignedWriteRequestResult
        elif "received_bytes" in value or "ranges" in value:
            cls = models.SyncChunkWriteResult
        return converter.get_structure_hook(cls)(value, cls)

    return hook


def fields_of(cls: type) -> list[attrs.Attribute[Any]]:
    """List the fields that a server may fill."""
    resolved = cast("type[attrs.AttrsInstance]", attrs.resolve_types(cast("Any", cls)))
    return [field for field in attrs.fields(resolved) if field.init and field.name != MISFITS]


MISFITS: Final = "misfits"


def filler(cls: type, converter: Converter, hooks: Mapping[str, Hook]) -> Hook:
    """Return a function that makes an instance from an object's members, each by its hook."""
    fields = {field.name: (field, hooks[field.name]) for field in fields_of(cls) if field.name in hooks}
    # Only cattrs' own functions note where an error is.
    if not converter.detailed_validation and can_fill(cls, fields):
        return written(cls, fields)
    overrides: dict[str, Any] = {name: override(struct_hook=hook) for name, hook in hooks.items()}
    if Reply in cls.__mro__:
        overrides[MISFITS] = override(omit=True)
    return cast("Hook", make_dict_structure_fn(cls, converter, **overrides))


def _strict_class_hook(cls: type, converter: BaseConverter) -> Hook:
    assert isinstance(converter, Converter)
    fields = fields_of(cls)
    declared = [field.name for field in fields if field.metadata.get(DECLARED)]
    hooks = {
        field.name: field_hook(converter, _never_none(field.type), REQUIRED)
        if field.name in declared and not field.metadata.get(NULLABLE)
        else field_hook(converter, field.type, field.default)
        for field in fields
    }
    fill = filler(cls, converter, hooks)
    prepare = PREPARE.get(model_name(cls))

    def structure(value: Any, type_: Any) -> Any:
        if value.__class__ is not dict:
            raise mismatch("an object", value)
        result = fill(value if prepare is None else prepare(value), type_)
        for name in declared:
            if name not in value:
                raise Misfit("is missing", step(name))
        return result

    return structure


def _never_none(type_: Any) -> Any:
    """Remove None from a union."""
    members = tuple(member for member in get_args(type_) if member is not type(None))
    if get_origin(type_) not in (Union, UnionType) or len(members) == len(get_args(type_)):
        return type_
    return Union[members]  # noqa: UP007 - of a tuple


def _omit_none(cls: type, converter: BaseConverter) -> Callable[[Any], Any]:
    resolved = cast("type[attrs.AttrsInstance]", attrs.resolve_types(cast("Any", cls)))
    overrides: dict[str, Any] = {
        field.name: override(omit_if_default=True) for field in attrs.fields(resolved) if field.default is None
    }
    if Reply in cls.__mro__:
        overrides[MISFITS] = override(omit=True)
    return cast(
        "Callable[[Any], Any]",
        make_dict_unstructure_fn(cls, converter, _cattrs_include_init_false=True, **overrides),
    )


def _chunk(write: models.SyncChunkWrite) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "path": write.path,
        "size": write.size,
        "upload_id": write.upload_id,
        "content": pybase64.b64encode_as_string(write.content),
        "start": write.start,
        "end": write.end,
    }
    if write.sha256 is not None:
        entry["sha256"] = write.sha256
    return entry


def _unknown_policy(policy: NetworkPolicyUnknown) -> dict[str, Any]:
    return {**_without_nulls(policy.raw), "type": policy.type}


def _without_nulls(value: Any) -> Any:
    if is_object(value):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if is_array(value) else value


def make_converter(
    *, detailed: bool = False, class_hook: Callable[[type, BaseConverter], Hook] | None = None
) -> Converter:
    """Make a converter with the rules of this package.

    Args:
        detailed: Whether its errors name the place of a value that does not fit, which makes it slow.
        class_hook: Makes the hook of a class; the default requires all that the contract declares.
    """
    converter = Converter(detailed_validation=detailed)
    converter.register_structure_hook_factory(attrs.has, class_hook or _strict_class_hook)
    converter.register_structure_hook_func(_is_write_result, _write_result_hook(converter))
    converter.register_unstructure_hook_factory(attrs.has, _omit_none)
    converter.register_unstructure_hook_func(_is_chunk, _chunk)
    converter.register_unstructure_hook(NetworkPolicyUnknown, _unknown_policy)
    return converter


# --- saying where ----------------------------------------------------------------------------------------------------


@cache
def _detailed() -> Converter:
    return make_converter(detailed=True)


def locate(value: object, cls: type, error: Exception) -> Misfit:
    """Return what is wrong with a value whose conversion failed, and where, by a second, detailed conversion."""
    try:
        _detailed().structure(value, cls)
    except Exception as detailed:
        path, cause = _descend(detailed)
        _forget_frames(detailed)
    else:
        path, cause = "", error
    if isinstance(cause, Misfit):
        return Misfit(cause.problem, f"${path}{cause.path}")
    if isinstance(cause, KeyError):
        return Misfit("is missing", f"${path}")
    return Misfit(f"does not fit {cls.__name__} ({type(cause).__name__})", f"${path}")


def _descend(error: BaseException) -> tuple[str, BaseException]:
    """Return the path to the first fault, and the fault."""
    path = ""
    while isinstance(error, (ClassValidationError, IterableValidationError)):
        noted, others = error.group_exceptions()
        if not noted:
            return path, others[0]
        error, note = noted[0]
        name = getattr(note, "name", None)
        index = getattr(note, "index", "?")
        path += step(name) if name is not None else step(index) if isinstance(index, str) else f"[{index}]"
    return path, error


def _forget_frames(error: BaseException) -> None:
    """Remove the tracebacks of an error and of all that it consists of: cattrs' frames have a list of these errors."""
    error.__traceback__ = error.__context__ = None
    inner: tuple[BaseException, ...] = getattr(error, "exceptions", ())  # of a group
    for each in inner:
        _forget_frames(each)


__all__ = [
    "CHUNK",
    "MISFITS",
    "PREPARE",
    "Prepare",
    "WRITE_RESULT",
    "field_hook",
    "fields_of",
    "filler",
    "locate",
    "make_converter",
    "model_name",
]
