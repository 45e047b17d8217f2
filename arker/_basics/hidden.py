"""Secrets among the local variables of functions, which some tools show with a traceback, as error trackers do."""

from __future__ import annotations


class Hidden(str):
    """A text whose representation does not show it. Texts made of it are ordinary ones."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[redacted]'"


__all__ = ["Hidden"]
