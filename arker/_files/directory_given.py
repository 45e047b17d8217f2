"""What to do where a directory was given in place of a file."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from arker.errors import ArkerError, LocalFileError, RemoteIsADirectoryError

if TYPE_CHECKING:
    from arker.transfer import Direction

_OPERATIONS: Final = frozenset({"vm.upload", "vm.download", "vm.sync", "vm.open_read"})
"""The calls for a single file, beside those of ``files``, which have other kin."""
_ITSELF: Final = "; give the path that the file itself is to have"


def advise(error: ArkerError, operation: str, direction: Direction) -> None:
    """Add advice to the error of a call for a single file if a directory was given to it."""
    if operation not in _OPERATIONS:
        return
    if isinstance(error, RemoteIsADirectoryError):
        error.message += _ITSELF if direction == "upload" else "; download_dir downloads directories"
    elif isinstance(error, LocalFileError) and error.errno == errno.EISDIR:
        error.message += _ITSELF if direction == "download" else "; upload_dir uploads directories"


__all__ = ["advise"]
