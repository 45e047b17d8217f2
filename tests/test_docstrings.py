"""What docstrings of public functions begin with: a verb of a list, so that each says what the function does."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import FunctionType
from typing import Final

import arker
import arker.emulator
import arker_sync

VERBS: Final = frozenset(
    [
        "Bind",
        "Cancel",
        "Change",
        "Check",
        "Close",
        "Copy",
        "Create",
        "Delete",
        "Download",
        "Fork",
        "Iterate",
        "Keep",
        "List",
        "Make",
        "Map",
        "Open",
        "Parse",
        "Raise",
        "Read",
        "Remove",
        "Rename",
        "Reset",
        "Resize",
        "Return",
        "Run",
        "Send",
        "Set",
        "Start",
        "Stop",
        "Unbind",
        "Upload",
        "Wait",
        "Write",
    ]
)
PACKAGES: Final = (arker, arker_sync, arker.emulator)


def documented() -> Iterator[tuple[str, str]]:
    """List the public functions and methods of all packages, with the first line of their docstrings."""
    for package in PACKAGES:
        for name in package.__all__:
            value = getattr(package, name)
            if isinstance(value, FunctionType):
                yield f"{package.__name__}.{name}", inspect.getdoc(value) or ""
            elif inspect.isclass(value) and value.__module__.partition(".")[0] in {"arker", "arker_sync"}:
                for member, function in inspect.getmembers(value):
                    if type(function) in {FunctionType, classmethod} and not member.startswith("_"):
                        yield f"{package.__name__}.{name}.{member}", inspect.getdoc(function) or ""


def test_public_docstrings_begin_with_a_verb() -> None:
    wrong: list[str] = []
    seen: set[str] = set()
    for name, text in documented():
        verb = text.partition(" ")[0].rstrip(".:,")
        seen.add(verb)
        if verb not in VERBS:
            wrong.append(f"{name}: {text.splitlines()[0] if text else '(none)'}")
    assert not wrong, "\n".join(sorted(set(wrong)))
    assert len(seen) > 20
