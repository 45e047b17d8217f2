"""Placing trees apart on the disk, where the file system can be asked for it."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import Final

TOP: Final = 0x00020000
"""The attribute of a directory whose subdirectories are not related (``chattr +T``)."""


def spread(directory: Path) -> bool:
    """Ask for subdirectories with places of their own. Returns whether the file system knows that.

    ext4 does. It takes an inode that has been deleted for a new file only after minutes, and looks through all of them
    each time. Beside many trees that have been removed a new one would take several times as long.
    """
    if sys.platform != "linux":
        return False
    try:
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        set_attributes(opened, attributes(opened) | TOP)
    except OSError:
        return False
    finally:
        os.close(opened)
    return True


def attributes(opened: int) -> int:
    """Return the attributes of an open file, as ``lsattr`` shows them. Raises `OSError`."""
    import fcntl  # which not every system has

    return int(_INT.unpack_from(fcntl.ioctl(opened, _request(2, 1), bytes(_LONG)))[0])


def set_attributes(opened: int, value: int) -> None:
    """Set them. Raises `OSError`."""
    import fcntl

    fcntl.ioctl(opened, _request(1, 2), _INT.pack(value).ljust(_LONG, b"\0"))


_INT: Final = struct.Struct("I")
_LONG: Final = struct.calcsize("l")


def _request(direction: int, number: int) -> int:
    """Return a request of ``ioctl`` as ``linux/fs.h`` defines it, which says ``long`` and means ``int``."""
    return direction << 30 | _LONG << 16 | ord("f") << 8 | number


__all__ = ["TOP", "attributes", "spread"]
