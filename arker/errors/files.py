"""Errors of files and directories that are moved."""

from __future__ import annotations

from typing import Any

import arker
from arker.errors.base import (
    ArkerError,
)


class TransferError(ArkerError):
    """A file could not be moved, for a reason that no server's answer names."""

    default_code = "transfer_failed"


class DirectoryConflictError(TransferError):
    """A directory cannot be copied without removing what must not be removed. Nothing was changed.

    Attributes:
        plan: What would be done; ``plan.conflicts`` are what is in the way.
    """

    default_code = "directory_conflict"

    def __init__(self, plan: arker.DirectoryReport) -> None:
        first, *others = plan.conflicts
        more = f" (and {len(others)} more like it)" if others else ""
        super().__init__(f"{first.shown_path}: {first.reason}{more}; nothing was changed")
        self.args = (plan,)
        self.plan = plan


class FileChangedError(TransferError):
    """A file changed while it was read, on this side or in the VM; nothing that is a mixture was written."""

    default_code = "file_changed"


class FileTooLargeError(TransferError):
    """A file of the VM is larger than the caller wants in memory: `AsyncVM.download` writes one of any size to a file.

    Attributes:
        size: Bytes of the file.
        max_bytes: Bytes that were to be read at most.
    """

    default_code = "file_too_large"

    def __init__(self, message: str, *, size: int = 0, max_bytes: int = 0, **context: Any) -> None:
        super().__init__(message, **context)
        self.size = size
        self.max_bytes = max_bytes


class IntegrityError(TransferError):
    """What arrived is not what was sent: its size or its digest is another one."""

    default_code = "integrity"


class LocalFileError(TransferError, OSError):
    """A file on this side could not be read or written: it is not there, is a directory, or the disk is full.

    The system's own error is its ``__cause__``.

    Attributes:
        errno: The system's number for it, such as `errno.ENOENT`.
        filename: The file.
    """

    default_code = "local_file"

    def __init__(self, error: OSError, filename: str | None = None) -> None:
        name = filename if filename is not None else error.filename
        reason = error.strerror or str(error)
        super().__init__(f"{name}: {reason}" if name is not None else reason)
        self.args = (error.errno, error.strerror, name)
        self.errno = error.errno
        self.strerror = error.strerror
        self.filename = name

    def __reduce__(self) -> tuple[Any, ...]:
        # That of OSError would make it of these arguments themselves.
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
