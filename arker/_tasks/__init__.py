"""Cancellation, threads, termination; forks and the end of the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._basics.lazy import lazy_modules

if TYPE_CHECKING:
    from arker._tasks import cleanup as cleanup
    from arker._tasks import hurry as hurry
    from arker._tasks import running_loop as running_loop
    from arker._tasks import termination as termination

__getattr__, __dir__ = lazy_modules(__name__, "cleanup", "hurry", "running_loop", "termination")
