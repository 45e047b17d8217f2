"""Commands with an environment, a directory, an input and watchers of their output; several at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._basics.lazy import lazy_modules

if TYPE_CHECKING:
    from arker._commands import held as held
    from arker._commands import options as options
    from arker._commands import staging as staging
    from arker._commands import stdin as stdin

__getattr__, __dir__ = lazy_modules(__name__, "held", "options", "staging", "stdin")
