# Generated from arker/_client/base.py by "nox -s facade": change that file, not this one.
"""What the parts of `Arker` stand on."""

from __future__ import annotations

import arker
from arker_sync._bridge.life import Life


class ClientBase(Life):
    """What the parts of a client share."""

    _async: arker.AsyncArker


__all__ = ["ClientBase"]
