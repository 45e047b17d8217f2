"""Packages that load a module when one of its names is first used (PEP 562), so that they import fast.

Annotations must resolve although the modules that they name are not loaded yet. So they are written as
``arker.AsyncVM`` and ``models.Run``: evaluating them loads the module. `later` does the same for other modules.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package. A name that was looked up once becomes the package's own.

    Args:
        package: The package's dotted name.
        homes: For each module the names that come from it, with spaces between them. Modules of the package itself are
            attributes of it as well.
    """
    home = {name: module for module, names in homes.items() for name in names.split()}

    def get(name: str) -> object:
        module = sys.modules[package]
        if name in home:
            # The import system has a lock for each module, so that threads which come at once get the same object.
            value: object = getattr(import_module(home[name]), name)
            setattr(module, name, value)
            return value
        if f"{package}.{name}" in homes:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=module)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home})

    return get, names


def lazy_modules(package: str, *modules: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package whose modules are loaded when they are first asked for.

    Args:
        package: The package's dotted name.
        modules: Those of its modules that other packages use like that.
    """
    return lazily(package, {f"{package}.{module}": "" for module in modules})


class _Later:
    """A stand-in for a module."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> object:
        value: object = getattr(import_module(self._name), name)
        self.__dict__[name] = value  # the next look-up does not come here
        return value


def later(module: str) -> Any:
    """Return a stand-in for a module, which is imported when one of its names is first used.

    It is for annotations: the module is loaded when the type hints of a function are resolved.
    """
    return _Later(module)


__all__ = ["later", "lazily", "lazy_modules"]
