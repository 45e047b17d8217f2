"""The public names of the packages, and the modules that they come from."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import Final

PACKAGES: Final = (
    "arker",
    "arker_sync",
    "arker.emulator",
    "arker.otel",
    "arker.progress",
    "arker.transfer",
    "arker_pytest",
)
"""What the reference describes."""
PROMISED: Final = (
    *PACKAGES,
    "arker.errors",
    "arker.models",
    "arker.integrations.fsspec",
    "arker.integrations.inspect_ai",
    "arker.integrations.pydantic_ai",
)
"""Whose names stay: what the reference describes, by other paths too, and what the pages on frameworks do."""


@cache
def homes(package: str) -> dict[str, str]:
    """Return the public names of a package, each with the module that defines it."""
    module = importlib.import_module(package)
    told: dict[str, str] = {}
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            told.update({alias.asname or alias.name: node.module for alias in node.names})
    names: list[str] = module.__all__
    return {name: _home(name, told.get(name, package), package) for name in names}


def _home(name: str, module: str, package: str) -> str:
    """Return the module that defines a name, going on where a package re-exports it."""
    loaded = importlib.import_module(module)
    if module == package or not hasattr(loaded, "__path__") or name not in getattr(loaded, "__all__", ()):
        return module
    return homes(module)[name]
