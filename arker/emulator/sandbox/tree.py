"""The files of a VM, as those see them who start it and count them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from arker.emulator.sandbox.layers import Stack


class Tree(Protocol):
    """The files of one VM."""

    path: Path
    """Its root, on the host. With a stack it holds what differs from the layers below."""
    stack: Stack | None
    """The layers below; None when all of its files are its own."""
    fresh: bool
    """Whether it is an empty directory still: it has the files of a new VM once something needs them."""

    def furnish(self) -> None:
        """Put the files of a new VM into a fresh tree."""
        ...

    async def size(self) -> int:
        """Return the total bytes of its files."""
        ...

    async def remove(self) -> None: ...


__all__ = ["Tree"]
