"""What must not be left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._basics.lazy import lazy_modules

if TYPE_CHECKING:
    from arker._lifecycle import lifetimes as lifetimes
    from arker._lifecycle import reap as reap

__getattr__, __dir__ = lazy_modules(__name__, "lifetimes", "reap")
