"""Layout of code in the style of the project's formatter, so that generated code passes its check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

WIDTH: Final = 120


def bracketed(before: str, items: Sequence[str], after: str, *, indent: int, exploded: bool = False) -> list[str]:
    """Format a construct in brackets: on one line, else with its items on one line, else with one item per line.

    Args:
        before: The text before the items, with the opening bracket.
        items: The items between the brackets.
        after: The text after the items, with the closing bracket.
        indent: Spaces before it.
        exploded: Give each item a line of its own in any case.
    """
    space = " " * indent
    if not items:
        return [f"{space}{before}{after}"]
    if not exploded:
        line = f"{space}{before}{', '.join(items)}{after}"
        if len(line) <= WIDTH:
            return [line]
        inner = f"{space}    {', '.join(items)}"
        if len(inner) <= WIDTH:
            return [f"{space}{before}", inner, f"{space}{after}"]
    return [f"{space}{before}", *(f"{space}    {item}," for item in items), f"{space}{after}"]


def imports(wanted: Mapping[str, set[str]], *, indent: int = 0) -> list[str]:
    """Format import lines, sorted into sections.

    Args:
        wanted: Names by module; the name ``""`` imports the module itself. A name may be ``"x as y"``.
        indent: Spaces before each line.
    """
    lines: list[str] = []
    for section in (_is_standard, _is_foreign, _is_ours):
        modules = sorted((module for module in wanted if section(module)), key=str.lower)
        block: list[str] = []
        for module in modules:
            if "" in wanted[module]:
                block += [f"{' ' * indent}import {module}"]
        for module in modules:
            names = sorted(wanted[module] - {""}, key=_order)
            if names:
                block += _import_from(module, names, indent)
        if block:
            lines += [*([""] if lines else []), *block]
    return lines


def _import_from(module: str, names: list[str], indent: int) -> list[str]:
    line = f"{' ' * indent}from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return [line]
    space = " " * indent
    return [f"{space}from {module} import (", *(f"{space}    {name}," for name in names), f"{space})"]


def _order(name: str) -> tuple[int, str, str]:
    """Return a sort key: constants, then classes, then the rest."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name.lstrip("_")[:1].isupper() else 2
    return kind, name.lower(), name


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in {"arker", "arker_sync"}


def _is_foreign(module: str) -> bool:
    return module.partition(".")[0] in {"aiohttp", "anyio", "attrs", "cattrs", "orjson", "typing_extensions"}


def _is_standard(module: str) -> bool:
    return not _is_ours(module) and not _is_foreign(module)


__all__ = ["WIDTH", "bracketed", "imports"]
