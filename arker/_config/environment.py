"""Environment variables, as settings are read from them."""

from __future__ import annotations

from collections.abc import Mapping


class Environment:
    """Access to environment variables: values are stripped, and a blank value counts as unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get(self, *names: str) -> str | None:
        for name in names:
            value = self._environ.get(name, "").strip()
            if value:
                return value
        return None


__all__ = ["Environment"]
