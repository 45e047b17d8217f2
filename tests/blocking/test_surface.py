"""Both packages side by side, by introspection: every public name, signature, return type and exception agrees.

Nothing here knows the generator: what it is to bring about is worked out from the objects that are imported.
"""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from collections.abc import Callable
from typing import Any, Final

import pytest

import arker
import arker_sync

RENAMED: Final = {"AsyncRun": "RunHandle", "AsyncSession": "SessionHandle", "AsyncTunnel": "TunnelHandle"}
METHODS: Final = {
    "aclose": "close",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}
LEFT_OUT: Final = {("AsyncArker", "__init__"): {"session"}, ("AsyncArker", "local"): {"session"}}
"""An aiohttp session belongs to one event loop, and blocking callers have none."""

OTHERS: Final = {"AsyncTerminal": {"stream": "file"}}
"""Members that do the same in another way: a terminal is a stream of anyio's here, and a file object there."""


def names(module: Any) -> set[str]:
    return set(module.__all__)


CLASSES: Final = sorted(name for name in names(arker) if name.startswith("Async"))


def twin_name(name: str) -> str:
    return RENAMED.get(name, name.removeprefix("Async"))


def turned(annotation: Any) -> str:
    """Convert an annotation of the async surface to the one that the blocking surface must have."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\bAsync(Iterator|Iterable)\b", r"\1", text)
    for name in CLASSES:
        text = re.sub(rf"\barker\.{name}\b", f"arker_sync.{twin_name(name)}", text)
        text = re.sub(rf"\b{name}\b", twin_name(name), text)
    text = re.sub(r"\bAwaitable\[(\w+)\]", r"\1", text)
    text = text.replace("Iterable[Item] | Iterable[Item]", "Iterable[Item]")
    return " ".join(text.split())


def plain(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return " ".join(text.split())


def test_both_have_the_same_names() -> None:
    assert {twin_name(name) if name in CLASSES else name for name in names(arker)} == names(arker_sync)
    assert len(CLASSES) >= 2
    assert arker_sync.__version__ == arker.__version__


def test_what_does_no_io_is_the_same_object() -> None:
    for name in names(arker) - set(CLASSES):
        assert getattr(arker_sync, name) is getattr(arker, name), name


def test_the_blocking_classes_stand_on_none_of_the_async_client_s() -> None:
    own = [cls for name in arker_sync.__all__ if getattr(arker, name, None) is not (cls := getattr(arker_sync, name))]
    classes = [cls for cls in own if inspect.isclass(cls)]
    assert {"Arker", "VM", "SessionHandle", "TunnelHandle"} <= {cls.__name__ for cls in classes}
    homes = {f"{cls.__name__}: {base.__module__}" for cls in classes for base in cls.__mro__}
    assert not [home for home in homes if home.partition(": ")[2].startswith("arker.")]


def test_older_names() -> None:
    with pytest.warns(DeprecationWarning, match="arker_sync.SessionInfo is an older name of arker_sync.Session"):
        assert arker_sync.SessionInfo is arker.Session  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(AttributeError, match="module 'arker_sync' has no attribute 'nothing'"):
        _ = arker_sync.nothing  # pyright: ignore[reportAttributeAccessIssue]


def members(cls: type[Any]) -> dict[str, Any]:
    """Return what is public of a class, and how it is built and used as a context manager or iterator."""
    special = {"__init__", "__len__", "__getitem__", "__contains__", *METHODS, *METHODS.values()}
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] in {"arker", "arker_sync"}:
            for name, value in vars(base).items():
                refusal = getattr(value, "__module__", "") == "arker._basics.guidance"
                if (not name.startswith("_") or name in special) and not isinstance(value, type) and not refusal:
                    found[name] = value
    return found


@pytest.mark.parametrize("name", CLASSES)
def test_members_agree(name: str) -> None:
    theirs, ours = members(getattr(arker, name)), members(getattr(arker_sync, twin_name(name)))
    if name != "AsyncArker":
        # Made by the client, of private parts.
        theirs.pop("__init__", None)
        ours.pop("__init__", None)
    for each, other in OTHERS.get(name, {}).items():
        theirs.pop(each)
        ours.pop(other)
    assert {METHODS.get(each, each) for each in theirs} == set(ours)
    for each, value in theirs.items():
        check_member(name, each, value, ours[METHODS.get(each, each)])


def check_member(owner: str, name: str, value: Any, twin: Any) -> None:
    where = f"{owner}.{name}"
    assert type(twin) is type(value), where
    if isinstance(value, property):
        assert value.fget is not None
        assert twin.fget is not None
        value, twin = value.fget, twin.fget
    value, twin = getattr(value, "__func__", value), getattr(twin, "__func__", twin)
    if not inspect.isfunction(value):
        return
    assert not inspect.iscoroutinefunction(twin), where
    assert not inspect.isasyncgenfunction(twin), where
    check_signature(where, value, twin, LEFT_OUT.get((owner, name), set()))
    overloads, twins = overloads_of(value), overloads_of(twin)
    assert len(overloads) == len(twins), where
    for one, other in zip(overloads, twins, strict=True):
        check_signature(where, one, other, set())
    text, twin_text = inspect.getdoc(value) or "", inspect.getdoc(twin) or ""
    assert bool(text) == bool(twin_text), where
    assert exceptions(text) == exceptions(twin_text), where
    assert not re.search(
        r"\bawait |\basync (with|for|def)\b|\bAsync[A-Z]", twin_text.replace("`arker.AsyncArker`", "")
    ), where


def overloads_of(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    get: Callable[[Callable[..., Any]], Any] | None = getattr(typing, "get_overloads", None)
    return list(get(function)) if get is not None else []  # they are not kept by Python 3.10


def check_signature(where: str, value: Callable[..., Any], twin: Callable[..., Any], left_out: set[str]) -> None:
    wanted, found = inspect.signature(value), inspect.signature(twin)
    theirs = {each.name: each for each in wanted.parameters.values() if each.name not in left_out}
    assert list(theirs) == list(found.parameters), where
    for name, parameter in found.parameters.items():
        assert parameter.kind is theirs[name].kind, f"{where}: {name}"
        assert parameter.default == theirs[name].default, f"{where}: {name}"
        assert plain(parameter.annotation) == turned(theirs[name].annotation), f"{where}: {name}"
    assert plain(found.return_annotation) == turned(wanted.return_annotation), where


def exceptions(text: str) -> list[str]:
    """Return the errors that a docstring lists, with their conditions."""
    _, found, section = text.partition("Raises:\n")
    return re.findall(r"^    (\w+Error): ", section, re.MULTILINE) if found else []


@pytest.mark.parametrize("name", CLASSES)
def test_the_types_that_are_named_are_there(name: str) -> None:
    """Annotations are texts; each must mean something where it stands, for those who read them at run time."""
    module_names: dict[str, Any] = {}
    for module in (
        *("typing_extensions", "collections.abc", "pathlib", "types"),
        *("arker", "arker.models", "arker.transfer", "arker.directories", "arker_sync"),
    ):
        module_names |= vars(importlib.import_module(module))
    for each, value in members(getattr(arker_sync, twin_name(name))).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if inspect.isfunction(function) and each != "__init__":
            where = {**module_names, **function.__globals__}
            for annotation in function.__annotations__.values():
                eval(annotation, where) if isinstance(annotation, str) else None
            assert function.__annotations__, f"{name}.{each}"


def test_modules_that_can_be_imported_alone() -> None:
    for module in ("arker_sync.client", "arker_sync.vm"):
        assert importlib.import_module(module).__all__
