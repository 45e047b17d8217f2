"""Environment variables, as settings are read from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_QUOTES: Final = ("'", '"')


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


def is_quoted(text: str) -> bool:
    """Return whether a value has quotation marks around it, or a part of them.

    Not every reader of a file of settings removes them: ``docker run --env-file`` does not.
    """
    return text.strip()[:1] in _QUOTES or text.strip()[-1:] in _QUOTES


__all__ = ["Environment", "is_quoted"]
