"""Models of replies that differ from the contract, made of the fields that fit. Loaded at the first request."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, get_args, get_origin

import attrs
from cattrs import BaseConverter, Converter

from arker._protocol.codec.converter import (
    MISFITS,
    PREPARE,
    Prepare,
    field_hook,
    fields_of,
    filler,
    make_converter,
    model_name,
)
from arker._protocol.codec.hooks import (
    Hook,
    Misfit,
    is_object,
    mismatch,
    step,
    with_content_that_is_there,
    with_outputs_that_are_there,
)
from arker.models._page import Page
from arker.models._reply import Reply

_PREPARE: Final[dict[str, Prepare]] = {
    **PREPARE,
    "Run": with_outputs_that_are_there,
    "CompletedRunResult": with_outputs_that_are_there,
    "SyncReadInlineResponse": with_content_that_is_there,
}
_UNFIT: Final = (Misfit, KeyError, TypeError, ValueError, AttributeError)
"""The exceptions of a hook when a value does not fit."""

_noted = threading.local()


def take_noted() -> list[tuple[type, str]]:
    """Return the fields that did not fit since the last call in this thread, with their classes."""
    noted: list[tuple[type, str]] = _noted.__dict__.pop("fields", [])
    return noted


def _note(cls: type, name: str) -> None:
    _noted.__dict__.setdefault("fields", []).append((cls, name))


def _lenient_class_hook(cls: type, converter: BaseConverter) -> Hook:
    """Return a hook that fills a class with the fields that fit. Only fields without a default are required."""
    assert isinstance(converter, Converter)
    fields = fields_of(cls)
    is_page = issubclass(cls, Page)
    members = {
        field.name: _Member(
            field.type,
            _rows_hook(converter, field.type)
            if is_page and get_origin(field.type) is tuple
            else field_hook(converter, field.type, field.default),
            field.default is attrs.NOTHING,
        )
        for field in fields
    }
    fill = filler(cls, converter, {name: member.hook for name, member in members.items()})
    prepare = _PREPARE.get(model_name(cls))

    def structure(value: Any, type_: Any) -> Any:
        if value.__class__ is not dict:
            raise mismatch("an object", value)
        obj = value if prepare is None else prepare(value)
        try:
            return fill(obj, type_)
        except _UNFIT:
            return _what_fits(cls, members, obj)

    return structure


@attrs.frozen
class _Member:
    """A field of a class: its type, its hook, and whether it has no default."""

    type: Any
    hook: Hook
    demanded: bool


def _what_fits(cls: type, members: Mapping[str, _Member], obj: Mapping[str, Any]) -> Any:
    """Make an instance field by field, and keep what does not fit unconverted."""
    values: dict[str, Any] = {}
    misfits: dict[str, object] = {}
    for name, member in members.items():
        if name not in obj:
            if member.demanded:
                raise Misfit("is missing", step(name))
            continue
        try:
            values[name] = member.hook(obj[name], member.type)
        except _UNFIT as error:
            if member.demanded:
                raise _within(name, error) from None
            misfits[name] = obj[name]
            _note(cls, name)
    if misfits and issubclass(cls, Reply):
        values[MISFITS] = misfits
    return cls(**values)


def _within(name: str, error: Exception) -> Misfit:
    """Return the misfit of an object, of what its member has failed with."""
    where = error if isinstance(error, Misfit) else Misfit("does not fit")
    return Misfit(where.problem, step(name) + where.path)


def _rows_hook(converter: Converter, type_: Any) -> Hook:
    """Return a hook for the rows of a page, each with the fields that fit.

    One row that differs must not cost the others.
    """
    member = get_args(type_)[0]
    one = converter.get_structure_hook(member)

    def rows(value: Any, _: Any) -> Any:
        if value is None:
            return ()
        if value.__class__ is not list:
            raise mismatch("an array", value)
        return tuple([row(item) for item in value])

    def row(item: Any) -> Any:
        try:
            return one(item, member)
        except _UNFIT:
            return without_id(item)

    def without_id(item: Any) -> Any:
        # The fields that are demanded of a row are ids, and texts.
        demanded = [field.name for field in fields_of(member) if field.default is attrs.NOTHING]
        obj = item if is_object(item) else {}
        blank = {name: obj[name] if obj.get(name).__class__ is str else "" for name in demanded}
        made = one({**obj, **blank}, member)
        wrong = {name: obj[name] for name in demanded if name in obj and obj[name].__class__ is not str}
        for name in demanded:
            _note(member, name)
        return attrs.evolve(made, misfits={**made.misfits, **wrong, **({} if is_object(item) else {"": item})})

    return rows


@cache
def lenient_converter() -> Converter:
    """Make the converter that requires only fields without a default."""
    return make_converter(class_hook=_lenient_class_hook)


__all__ = ["lenient_converter", "take_noted"]
