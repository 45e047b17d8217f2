"""The limit of this process's descriptors, and the share that connections may take."""

from __future__ import annotations

import errno
import os
from typing import Final

_SPARED: Final = 16
NONE_LEFT: Final = frozenset({errno.EMFILE, errno.ENFILE})


def limit() -> int | None:
    """Return the limit of descriptors; None where there is none, or it is not known."""
    try:
        import resource  # not on every system
    except ImportError:  # not a system with such limits
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def most_connections(wanted: int) -> int:
    """Return how many connections a client may have if it wants so many: at most half of the descriptors."""
    most = limit()
    return wanted if most is None else max(1, min(wanted, most // 2))


def is_spared(descriptor: int) -> bool:
    """Return whether a descriptor is one of the last ones, which are reserved for the program's own files."""
    most = limit()
    return most is not None and descriptor >= most - min(_SPARED, most // 8)


def none_left() -> bool:
    """Return whether the process, or the machine, has no descriptor left."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in NONE_LEFT
    return False


__all__ = ["NONE_LEFT", "is_spared", "limit", "most_connections", "none_left"]
