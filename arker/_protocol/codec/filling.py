"""Functions that make an instance of a model from an object's members, written for each class.

A page of 5,000 VMs has 300,000 fields. The functions that cattrs writes call a hook for each of them, and the methods
that attrs writes for frozen classes call ``object.__setattr__``; both calls take longer than all the rest. So a value
of the right JSON type is kept without a call, and the fields are set on a twin: a class with the same slots that is not
frozen. Its instance then becomes one of the model, as ``__class__`` may be set where the layout is the same.

Loaded at the first request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

import attrs

from arker._protocol.codec.hooks import Hook, kept, plain_of

_ABSENT: Final = object()
Fields: TypeAlias = "Mapping[str, tuple[attrs.Attribute[Any], Hook]]"
"""The fields that a server may fill, with their hooks."""


def can_fill(cls: type, fields: Fields) -> bool:
    """Return whether a class only keeps values: whether it computes no defaults, and does not change or check any."""
    return not hasattr(cls, "__attrs_post_init__") and not any(
        each.validator is not None or each.converter is not None or isinstance(each.default, _FACTORY)
        for each in (*_attributes(cls), *(cast("Any", field) for field, _ in fields.values()))
    )


_FACTORY: Final = cast("type", attrs.Factory)  # in the stubs it is a function


def _attributes(cls: type) -> tuple[Any, ...]:
    # attrs' stubs leave the types of converters open.
    found: tuple[Any, ...] = attrs.fields(cast("type[attrs.AttrsInstance]", cls))
    return found


def written(cls: type, fields: Fields) -> Hook:
    """Return a function that makes an instance, for a class that `can_fill`.

    It raises `KeyError` where a field without a default is missing, and what the hooks raise.
    """
    names: dict[str, Any] = {"_absent": _ABSENT, "_class": cls}
    twin = _twin_of(cls)
    lines = ["def fill(_object, _type):", " _get = _object.get"]
    for number, (name, (attribute, hook)) in enumerate(fields.items()):
        value, default = f"_v{number}", f"_d{number}"
        names |= {f"_h{number}": hook, f"_t{number}": attribute.type, default: attribute.default}
        call = f"{value} = _h{number}({value}, _t{number})"
        plain = plain_of(hook)
        if hook is kept:
            missing = f"_object[{name!r}]" if attribute.default is attrs.NOTHING else f"_get({name!r}, {default})"
            lines.append(f" {value} = {missing}")
            continue
        if attribute.default is attrs.NOTHING:
            lines.append(f" {value} = _object[{name!r}]")
            unfit = "" if plain is None else f"if {value}.__class__ is not {plain.wanted.__name__}: "
        elif plain is not None and plain.default is attribute.default and plain.keeps_default:
            lines.append(f" {value} = _get({name!r}, {default})")
            null = f" and {value} is not None" if attribute.default is None else ""
            unfit = f"if {value}.__class__ is not {plain.wanted.__name__}{null}: "
        else:
            lines.append(f" {value} = _get({name!r}, _absent)")
            lines.append(f" if {value} is _absent: {value} = {default}")
            unfit = "else: " if plain is None else f"elif {value}.__class__ is not {plain.wanted.__name__}: "
        lines.append(f" {unfit}{call}")
    values = {name: f"_v{number}" for number, name in enumerate(fields)}
    if twin is None:
        arguments = ", ".join(f"{fields[name][0].alias}={value}" for name, value in values.items())
        lines.append(f" return _class({arguments})")
    else:
        names["_twin"] = twin
        lines.append(" _made = _twin()")
        for attribute in _attributes(cls):
            constant = f"_c_{attribute.name}"
            if attribute.name not in values:
                names[constant] = attribute.default
            lines.append(f" _made.{attribute.name} = {values.get(attribute.name, constant)}")
        lines += [" _made.__class__ = _class", " return _made"]
    exec(compile("\n".join(lines), f"<filling of {cls.__qualname__}>", "exec"), names)  # noqa: S102 - of names of fields
    return cast("Callable[[Any, Any], Any]", names["fill"])


def _twin_of(cls: type) -> type | None:
    """Return a class with the same layout whose instances can be changed; None if there can be none."""
    slots = cls.__dict__.get("__slots__")
    if slots is None or type(cls) is not type:
        return None
    members = {name: getattr(object, name) for name in ("__init__", "__new__", "__setattr__", "__delattr__")}
    twin = type(f"_Twin{cls.__name__}", cls.__bases__, {"__slots__": slots, "__module__": __name__, **members})
    try:
        twin().__class__ = cls
    except TypeError:
        return None  # an interpreter that does not see that the layout is the same
    return twin


__all__ = ["Fields", "can_fill", "written"]
