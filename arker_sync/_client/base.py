# Generated from arker/_client/base.py by "nox -s facade": change that file, not this one.
"""The base of the parts of `Arker`."""

from __future__ import annotations

import arker
from arker_sync._bridge.life import Life


class ClientBase(Life):
    """The state that the parts of a client share."""

    _async: arker.AsyncArker


__all__ = ["ClientBase"]
