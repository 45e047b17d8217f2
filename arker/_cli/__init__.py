"""The command line. Each file has a group of commands; `program` chooses the one that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._basics.lazy import lazy_modules

if TYPE_CHECKING:
    from arker._cli import commands as commands
    from arker._cli import copying as copying
    from arker._cli import inspecting as inspecting
    from arker._cli import machines as machines
    from arker._cli import service as service
    from arker._cli import shell as shell
    from arker._cli import tunnels as tunnels
    from arker._cli import watching as watching

__getattr__, __dir__ = lazy_modules(
    __name__, "commands", "copying", "inspecting", "machines", "service", "shell", "tunnels", "watching"
)
