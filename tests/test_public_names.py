"""What public signatures name can be imported from the package: nothing public is missing from the lists of names."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import attrs
import pytest

import arker
import arker_sync
from arker import models
from arker.errors import ArkerError

PACKAGES = [arker, arker_sync]


def classes_in(hint: Any) -> Iterator[type[Any]]:
    """Yield the classes that a hint names, at any depth."""
    arguments: Any = hint  # the arguments of a Callable are a list
    if not isinstance(hint, list):
        arguments = get_args(hint)
        origin = getattr(hint, "__origin__", hint)
        if isinstance(origin, type):
            yield origin
    for each in arguments:
        yield from classes_in(each)


def signatures_of(cls: type[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the hints of a class's public methods, properties and fields, of those above it in the packages too."""
    for name in dir(cls):
        if name.startswith("_") and name not in ("__init__", "__call__", "__aenter__", "__enter__", "__iter__"):
            continue
        member = inspect.getattr_static(cls, name)
        member = getattr(member, "__func__", member)
        member = getattr(member, "fget", member) or member
        if not inspect.isfunction(member) or not member.__module__.startswith("arker"):
            continue
        # Handles are made by the SDK, from what is private to it.
        if name != "__init__" or cls in (arker.AsyncArker, arker_sync.Arker) or issubclass(cls, ArkerError):
            yield f"{cls.__name__}.{name}", get_type_hints(member)
    if attrs.has(cls):
        fields = {field.name for field in attrs.fields(cls) if not field.name.startswith("_")}
        yield cls.__name__, {name: hint for name, hint in get_type_hints(cls).items() if name in fields}


def named_by(public: dict[str, Any]) -> dict[type[Any], str]:
    """Return the classes of ours that the signatures of public names have, each with a place that names it."""
    found: dict[type[Any], str] = {}
    for name, thing in public.items():
        if isinstance(thing, type) and not get_args(thing):  # to Python 3.10 list[str] is a type, too
            signatures = list(signatures_of(thing))
        elif inspect.isfunction(thing):
            signatures = [(name, get_type_hints(thing))]
        else:
            signatures = [(name, {name: thing})]
        for place, hints in signatures:
            for hint in hints.values():
                for cls in classes_in(hint):
                    if cls.__module__.partition(".")[0] in ("arker", "arker_sync"):
                        found.setdefault(cls, place)
    return found


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_what_signatures_name_can_be_imported(package: Any) -> None:
    public = {name: getattr(package, name) for name in package.__all__}
    values = list(public.values())
    named = named_by(public)
    assert len(named) > 90
    missing = [
        f"{place} names {cls.__module__}.{cls.__qualname__}, which is not in {package.__name__}.__all__"
        for cls, place in named.items()
        if cls not in values and (cls.__module__, cls.__name__) not in PRIVATE
    ]
    assert not missing, "\n".join(missing)


PRIVATE = {("arker._vm.files", "Unset"): "the default that stands for no argument"}
"""Classes that signatures name and that users need no name for, each with the reason."""


def test_every_class_of_the_models_is_listed() -> None:
    found = 0
    for path in Path(str(models.__file__)).parent.glob("[!_]*.py"):
        home = f"arker.models.{path.stem}"
        for name, cls in vars(importlib.import_module(home)).items():
            if isinstance(cls, type) and cls.__module__ == home and not name.startswith("_"):
                found += 1
                assert name in models.__all__, f"{home}.{name}"
    assert found > 60


def test_a_class_that_is_missing_is_noticed() -> None:
    class Hidden(ArkerError):
        pass

    class Public:
        def method(self, value: dict[str, list[Hidden | None]]) -> None:
            """Take a value."""

    Hidden.__module__ = Public.method.__module__ = "arker.hidden"
    Public.method.__annotations__["value"] = dict[str, list[Hidden | None]]
    assert named_by({"Public": Public}) == {Hidden: "Public.method"}
