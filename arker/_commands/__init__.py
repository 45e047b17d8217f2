"""Commands with an environment, a directory, an input and watchers of their output; several at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._basics.lazy import lazy_modules

if TYPE_CHECKING:
    from arker._commands import command as command

__getattr__, __dir__ = lazy_modules(__name__, "command")
