"""Annotations of all that is public can be evaluated at run time, as tools do that make schemas of functions."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import attrs
import pydantic
import pytest

import arker
import arker_pytest
import arker_sync

OURS = ("arker", "arker_pytest", "arker_sync")
INSIDES = ("arker.emulator.server", "arker.emulator.sandbox", "arker.integrations.")
"""What is no public surface, and what needs frameworks that are not installed here."""


def is_ours(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).partition(".")[0] in OURS


def modules() -> Iterator[str]:
    """Return the packages and the public modules in them, at any depth, without the embedded backend's inside."""
    for package in (arker, arker_pytest, arker_sync):
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            private = any(part.startswith("_") for part in found.name.split("."))
            if not private and not found.name.startswith(INSIDES):
                yield found.name


def public(module: str) -> Iterator[tuple[str, Any]]:
    home = importlib.import_module(module)
    names = getattr(home, "__all__", [name for name in vars(home) if not name.startswith("_")])
    for name in names:
        yield f"{module}.{name}", getattr(home, name)


def functions_of(value: Any) -> Iterator[Callable[..., Any]]:
    """Return the functions behind a value of a class or module."""
    if isinstance(value, property | functools.cached_property):
        parts = [value.fget, value.fset] if isinstance(value, property) else [value.func]
        yield from (part for part in parts if part is not None)
    elif type(value) in {classmethod, staticmethod}:
        yield value.__func__
    elif isinstance(value, FunctionType):
        yield value


def annotated() -> Iterator[tuple[str, Any]]:
    """All that has annotations, and may be asked for them: functions, classes, what the classes inherit."""
    seen: set[int] = set()
    for module in modules():
        for name, value in public(module):
            found: list[tuple[str, Any]] = [(name, each) for each in functions_of(value)]
            if inspect.isclass(value) and is_ours(value):
                found += [(name, value)]
                for cls in filter(is_ours, value.__mro__):
                    for attribute, member in vars(cls).items():
                        # Python's own dunder methods are public; a name with one underscore is not.
                        if attribute.startswith("__") or not attribute.startswith("_"):
                            found += [(f"{name}.{attribute}", each) for each in functions_of(member)]
            for where, thing in found:
                if is_ours(thing) and id(thing) not in seen:
                    seen.add(id(thing))
                    yield where, thing


def test_hints_of_everything_public_can_be_resolved() -> None:
    count, wrong = 0, list[str]()
    for where, thing in annotated():
        count += 1
        try:
            typing.get_type_hints(thing, include_extras=True)
            if inspect.isfunction(thing):
                inspect.signature(thing, eval_str=True)
        except Exception as error:
            wrong.append(f"{where}: {error!r}")
    assert not wrong, "\n".join(wrong)
    assert count > 700


def test_what_they_name_is_what_a_program_imports() -> None:
    hints = typing.get_type_hints(arker.AsyncArker.fork)
    assert hints["return"] is arker.AsyncVM
    assert hints["tunnel"] is not None
    assert typing.get_type_hints(arker_sync.Arker.fork)["return"] is arker_sync.VM
    assert arker_sync.RunHandle is typing.get_type_hints(arker_sync.VM.start)["return"]
    getter: Any = inspect.getattr_static(arker.AsyncVM, "network")
    assert typing.get_type_hints(getter.fget) == {"return": arker.NetworkPolicy | None}
    items = typing.get_type_hints(arker.AsyncFleet.map)["return"]
    assert typing.get_origin(items) is not None


def test_fields_can_be_resolved_too() -> None:
    count = 0
    for _, cls in annotated():
        if inspect.isclass(cls) and attrs.has(cls):
            attrs.resolve_types(cls)
            assert not [field.name for field in attrs.fields(cls) if isinstance(field.type, str)]
            count += 1
    assert count > 60


FRESH = """
import sys, typing
{before}
hints = typing.get_type_hints({name})
assert {loaded!r} in sys.modules
print(*sorted(hints))
"""


@pytest.mark.parametrize(
    ("before", "name", "loaded"),
    [
        ("from arker import AsyncArker", "AsyncArker.__init__", "aiohttp"),
        ("from arker import AsyncArker", "AsyncArker", "arker._context"),
        ("from arker import AsyncArker", "AsyncArker.fork", "arker.vm"),
        ("from arker import AsyncVM", "AsyncVM.upload", "arker.transfer"),
        ("from arker_sync import Arker", "Arker.fork", "arker_sync.vm"),
        ("from arker_sync import VM", "VM.__init__", "arker_sync._bridge.lease"),
        ("from arker import errors", "errors.DirectoryConflictError.__init__", "arker.directories"),
    ],
)
def test_it_works_before_anything_else_is_loaded(before: str, name: str, loaded: str) -> None:
    program = FRESH.format(before=before, name=name, loaded=loaded)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


@pytest.mark.parametrize(
    "function",
    [arker.AsyncVM.run, arker.AsyncVM.upload_dir, arker.AsyncArker.fork, arker_sync.VM.run, arker_sync.Arker.fork],
    ids=lambda function: f"{function.__module__}.{function.__name__}",
)
@pytest.mark.anyio
async def test_pydantic_makes_validators_of_them(function: Callable[..., Any]) -> None:
    checked = pydantic.validate_call(config=pydantic.ConfigDict(arbitrary_types_allowed=True))(function)

    async def call() -> None:
        given = checked(object(), [], no_such_argument=1)
        await given

    with pytest.raises(pydantic.ValidationError):
        await call()
