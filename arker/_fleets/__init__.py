"""Many VMs: forked, lent, replaced, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._basics.lazy import lazy_modules

if TYPE_CHECKING:
    from arker._fleets import plan as plan
    from arker._fleets import pool as pool

__getattr__, __dir__ = lazy_modules(__name__, "plan", "pool")
