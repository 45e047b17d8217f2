"""Errors of transfers of files and directories."""

from __future__ import annotations

from typing import Any

import arker
from arker.errors.base import (
    ArkerError,
)


class TransferError(ArkerError):
    """A file could not be transferred, for a reason other than a server's error reply."""

    default_code = "transfer_failed"


class DirectoryConflictError(TransferError):
    """A directory cannot be copied, because a path that must not be removed is in the way. Nothing was changed.

    Attributes:
        plan: The plan of the copy; ``plan.conflicts`` are the paths in the way.
    """

    default_code = "directory_conflict"

    def __init__(self, plan: arker.DirectoryReport) -> None:
        first, *others = plan.conflicts
        more = f" (and {len(others)} more like it)" if others else ""
        super().__init__(f"{first.shown_path}: {first.reason}{more}; nothing was changed")
        self.args = (plan,)
        self.plan = plan


class FileChangedError(TransferError):
    """A file changed while it was read, on this machine or in the VM. No mixture of both versions was written."""

    default_code = "file_changed"


class FileTooLargeError(TransferError):
    """A file in the VM is larger than the caller's limit for memory.

    `AsyncVM.download` writes files of any size to disk.

    Attributes:
        size: Size of the file in bytes.
        max_bytes: Maximum number of bytes to read.
    """

    default_code = "file_too_large"

    def __init__(self, message: str, *, size: int = 0, max_bytes: int = 0, **context: Any) -> None:
        super().__init__(message, **context)
        self.size = size
        self.max_bytes = max_bytes


class IntegrityError(TransferError):
    """The received data differs from the data that was sent, by its size or its digest."""

    default_code = "integrity"


class LocalFileError(TransferError, OSError):
    """A local file could not be read or written: it does not exist, is a directory, or the disk is full.

    The operating system's error is its ``__cause__``.

    Attributes:
        errno: The operating system's error number, such as `errno.ENOENT`.
        filename: The file.
    """

    default_code = "local_file"

    def __init__(self, error: OSError, filename: str | None = None) -> None:
        name = filename if filename is not None else error.filename
        reason = error.strerror or str(error)
        text = f"{reason} (on this machine)"
        super().__init__(f"{name}: {text}" if name is not None else text)
        self.args = (error.errno, error.strerror, name)
        self.errno = error.errno
        self.strerror = error.strerror
        self.filename = name

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError's own method would pass only its own arguments.
        return _local_file_error, self.args, self.__dict__


def _local_file_error(number: int, reason: str, filename: str | None) -> LocalFileError:
    return LocalFileError(OSError(number, reason), filename)


__all__ = [
    "DirectoryConflictError",
    "FileChangedError",
    "FileTooLargeError",
    "IntegrityError",
    "LocalFileError",
    "TransferError",
]
