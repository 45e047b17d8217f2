"""Functions that make an instance of a model from an object's members, written for each class.

A page of 5,000 VMs has 300,000 fields. The functions that cattrs writes call a hook for each of them, and the methods
that attrs writes for frozen classes call ``object.__setattr__``; both calls take longer than all the rest. So a value
of the right JSON type is kept without a call, and the fields are set on a twin: a class with the same slots that is not
frozen. Its instance then becomes one of the model, as ``__class__`` may be set where the layout is the same. Once
objects with the same members have come often, a function that asks for just those fills the model.

Loaded at the first request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import attrs

from arker._protocol.codec.hooks import Hook, kept, plain_of

_ABSENT: Final = object()
_MANY_FIELDS: Final = 8
"""Fields of a class for which it saves time to know which of them an object has."""
_OFTEN: Final = 30
"""Objects with the same members after which a function for them is written, which takes about a millisecond."""
_SHAPES: Final = 16
"""Sets of members that are counted for each class: servers send few."""
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
    return _Filler(cls, fields).whole()


class _Filler:
    """The functions that fill one class.

    A server sends a kind of object with the same members each time. So for members that have come several times there
    is a function that asks for no others.
    """

    def __init__(self, cls: type, fields: Fields) -> None:
        self._cls = cls
        self._fields = fields
        self._twin = _twin_of(cls)
        self.functions: dict[tuple[str, ...], Hook] = {}
        """By the members of an object."""
        self.times: dict[tuple[str, ...], int] = {}
        """How often each set of members has come."""
        self._names: dict[str, Any] = {"_absent": _ABSENT, "_class": cls, "_twin": self._twin}
        self._names |= {"_known": self.functions.get, "_met": self._met}
        for number, (attribute, hook) in enumerate(fields.values()):
            self._names |= {f"_h{number}": hook, f"_t{number}": attribute.type, f"_d{number}": attribute.default}
        for attribute in _attributes(cls):
            self._names[f"_c_{attribute.name}"] = attribute.default

    def whole(self) -> Hook:
        """Return the function for an object with whatever members."""
        lines = [" _get = _object.get"]
        if len(self._fields) >= _MANY_FIELDS:
            lines = [
                " _members = (*_object,)",
                " _fill = _known(_members) or _met(_members)",
                " if _fill is not None: return _fill(_object, _type)",
                *lines,
            ]
        for number, name in enumerate(self._fields):
            lines += self._asked(number, name)
        return self._compiled([*lines, *self._made({*self._fields})])

    def _met(self, members: tuple[str, ...]) -> Hook | None:
        """Count an object; return the function for its members when it is time to make one."""
        times = self.times.get(members, 0)
        if not times and len(self.times) >= _SHAPES:
            return None
        self.times[members] = times + 1
        if times < _OFTEN:
            return None
        known = self._fields.keys() & {*members}
        if not {name for name, (field, _) in self._fields.items() if field.default is attrs.NOTHING} <= known:
            return None
        lines: list[str] = []
        for number, name in enumerate(self._fields):
            if name in known:
                lines += self._present(number, name)
        function = self.functions[members] = self._compiled([*lines, *self._made(known)])
        return function

    def _asked(self, number: int, name: str) -> list[str]:
        """Return the lines for a field that an object may have or not."""
        attribute, hook = self._fields[name]
        value, default, plain = f"_v{number}", f"_d{number}", plain_of(hook)
        if attribute.default is attrs.NOTHING:
            return self._present(number, name)
        if hook is kept:
            return [f" {value} = _get({name!r}, {default})"]
        if plain is not None and plain.default is attribute.default and plain.keeps_default:
            return [f" {value} = _get({name!r}, {default})", *self._checked(number, name)]
        unfit = "else: " if plain is None else f"elif {value}.__class__ is not {plain.wanted.__name__}: "
        return [
            f" {value} = _get({name!r}, _absent)",
            f" if {value} is _absent: {value} = {default}",
            f" {unfit}{value} = _h{number}({value}, _t{number})",
        ]

    def _present(self, number: int, name: str) -> list[str]:
        """Return the lines for a field that an object has."""
        return [f" _v{number} = _object[{name!r}]", *self._checked(number, name)]

    def _checked(self, number: int, name: str) -> list[str]:
        attribute, hook = self._fields[name]
        value, plain = f"_v{number}", plain_of(hook)
        if hook is kept:
            return []
        unfit = ""
        if plain is not None:
            null = f" and {value} is not None" if plain.default is attribute.default is None else ""
            unfit = f"if {value}.__class__ is not {plain.wanted.__name__}{null}: "
        return [f" {unfit}{value} = _h{number}({value}, _t{number})"]

    def _made(self, given: Collection[str]) -> list[str]:
        """Return the lines that make the instance of the values of some fields, and the defaults of the others."""
        values = {name: f"_v{number}" for number, name in enumerate(self._fields) if name in given}
        if self._twin is None:
            arguments = ", ".join(f"{self._fields[name][0].alias}={value}" for name, value in values.items())
            return [f" return _class({arguments})"]
        names = [attribute.name for attribute in _attributes(self._cls)]
        settings = [f" _new.{name} = {values.get(name, f'_c_{name}')}" for name in names]
        return [" _new = _twin()", *settings, " _new.__class__ = _class", " return _new"]

    def _compiled(self, lines: Sequence[str]) -> Hook:
        names = dict(self._names)
        text = "\n".join(["def fill(_object, _type):", *lines])
        exec(compile(text, f"<filling of {self._cls.__qualname__}>", "exec"), names)  # noqa: S102 - of names of fields
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
