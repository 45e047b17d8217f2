"""The package that users import: its names, looked up when they are first asked for, and the older ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Final

import arker._basics.exit  # takes its place at the import  # noqa: F401  # pyright: ignore[reportUnusedImport]
from arker._basics.lazy import lazily

OLDER_NAMES: Final = {
    "SessionInfo": "Session",
    "RunStatusResponse": "Run",
    "RunNetworkRequest": "NetworkRequest",
    "RunNetworkStatus": "NetworkStatus",
    "RunInboundPortRequest": "InboundPortRequest",
    "RunTunnelStatus": "Tunnel",
}
"""Older names of the models (contract, section 9)."""


def lazy_root(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return what `lazily` does, which knows older names of models, ``__version__`` and what guesses mean as well."""
    look_up, names = lazily(package, homes)
    home = frozenset(" ".join(homes.values()).split())

    def get(name: str) -> object:
        if name in OLDER_NAMES:
            import warnings  # few programs use older names

            message = f"{package}.{name} is an older name of {package}.{OLDER_NAMES[name]}"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            return getattr(sys.modules[package], OLDER_NAMES[name])
        if name == "__version__":
            from arker._basics.version import version  # few programs ask for it

            return version()
        try:
            return look_up(name)
        except AttributeError:
            if name in home or name.startswith("__"):
                raise  # of a module that was found, or one of the names that tools ask every module for
            from arker._basics.guesses import missing  # it is for mistakes

            error = missing(package, name, sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
            if error is None:
                raise
        raise error

    return get, names


__all__ = ["OLDER_NAMES", "lazy_root"]
