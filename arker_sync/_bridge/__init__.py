"""What generated code stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._basics.lazy import lazy_modules

if TYPE_CHECKING:
    from arker_sync._bridge import callbacks as callbacks
    from arker_sync._bridge import lease as lease
    from arker_sync._bridge import termination as termination
    from arker_sync._bridge import workers as workers

__getattr__, __dir__ = lazy_modules(__name__, "callbacks", "lease", "termination", "workers")
