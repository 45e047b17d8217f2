"""Files that several VMs share: layers, which nothing changes any more, below what each VM has changed itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import define, frozen

_MOST: Final = 60
"""Layers below one VM. The kernel takes more, but each costs time wherever a name is looked up."""
_PAGE: Final = 4096
"""Bytes of options that the kernel takes for a mount."""
_LONGEST_NAME: Final = 160
"""Bytes of a VM's own directory and what stands around its path in the options."""
_SPECIAL: Final = frozenset(':,\\"')
"""Characters with a meaning among these options."""

PREFIX: Final = ".layer-"
STACK: Final = ".stack-"
"""Before a VM's id: the file that names its layers."""
WORK: Final = ".work-"
"""Before a VM's id: the directory for the kernel's use."""
SHARE: Final = "share"
"""The step in which a VM's files become a layer, as it is noted."""
_LONGEST_LAYER: Final = len(PREFIX) + 6


@define(eq=False)
class Layer:
    """A directory that stays as it is.

    Attributes:
        path: Where it is on the host.
        users: How many VMs have it.
    """

    path: Path
    users: int = 0


@frozen(eq=False)
class Stack:
    """The layers of one VM.

    Attributes:
        layers: They themselves, the lowest first.
        work: A directory for the kernel's use, beside that of the VM's own files.
    """

    layers: Sequence[Layer]
    work: Path

    @property
    def below(self) -> list[Path]:
        """The directories of the layers, the uppermost first."""
        return [layer.path for layer in reversed(self.layers)]

    def options(self, own: Path) -> list[str]:
        """Return bwrap's options for a VM's root."""
        return [*self._sources(), "--overlay", str(own), str(self.work), "/"]

    def to_read(self, own: Path, place: str) -> list[str]:
        """Return bwrap's options for a look at a VM's files, at a place of its namespace."""
        return [*self._sources(), "--overlay-src", str(own), "--ro-overlay", place]

    def _sources(self) -> list[str]:
        return [part for layer in self.layers for part in ("--overlay-src", str(layer.path))]


def takes_another(base: Path, stack: Stack | None) -> bool:
    """Return whether there can be one more layer below a VM whose trees are in this directory."""
    count = 1 + (0 if stack is None else len(stack.layers))
    return count <= _MOST and can_mount(base, count)


def can_mount(base: Path, count: int) -> bool:
    """Return whether the kernel takes the paths of so many layers in this directory."""
    length = len(os.fsencode(base)) + len("/oldroot/:")
    room = _PAGE - 2 * (length + _LONGEST_NAME)
    return count * (length + _LONGEST_LAYER) <= room and not _SPECIAL & set(str(base))


__all__ = ["PREFIX", "SHARE", "STACK", "WORK", "Layer", "Stack", "can_mount", "takes_another"]
