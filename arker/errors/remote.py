"""Errors of files in a VM. Each is also Python's error of that kind, with its ``errno`` and ``filename``."""

from __future__ import annotations

import errno as numbers
import os
from typing import Any, Final

from arker.errors.api import (
    ApiError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    ResourcePressureError,
)
from arker.errors.base import ArkerError


class RemoteFileError(ApiError, OSError):
    """The VM's system refused an operation on a file or directory. Subclasses tell the common reasons apart.

    Attributes:
        errno: The error number, such as `errno.ENOENT`, as this machine's system numbers it; None if it is not known.
        strerror: The reason, as text.
        filename: The path in the VM, as the caller gave it.
    """

    def __init__(
        self,
        message: str,
        *,
        errno: int | None = None,
        strerror: str | None = None,
        filename: str | None = None,
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.errno = errno
        self.strerror = strerror
        self.filename = filename

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError keeps these outside of the instance's dictionary.
        own = {"errno": self.errno, "strerror": self.strerror, "filename": self.filename}
        return type(self), (self.message,), {**self.__dict__, **own}


class RemoteFileNotFoundError(RemoteFileError, NotFoundError, FileNotFoundError):
    """There is no such file or directory in the VM."""


class RemotePermissionError(RemoteFileError, BadRequestError, PermissionError):
    """The VM's user may not do this with the file or directory. It is no matter of the API key."""


class RemoteIsADirectoryError(RemoteFileError, BadRequestError, IsADirectoryError):
    """The path is a directory, where something else is needed."""


class RemoteNotADirectoryError(RemoteFileError, BadRequestError, NotADirectoryError):
    """The path, or a part of it that has to be a directory, is something else."""


class RemoteFileExistsError(RemoteFileError, ConflictError, FileExistsError):
    """The path exists already."""


class RemoteNoSpaceError(RemoteFileError, ResourcePressureError):
    """The VM's disk is full; ``errno`` is `errno.ENOSPC` or `errno.EDQUOT`."""


class RemotePathError(RemoteFileError, BadRequestError):
    """The path cannot be used in this way, for another reason: see ``errno`` and the message."""


_KINDS: Final[dict[int, type[RemoteFileError]]] = {
    numbers.ENOENT: RemoteFileNotFoundError,
    numbers.EACCES: RemotePermissionError,
    numbers.EPERM: RemotePermissionError,
    numbers.EISDIR: RemoteIsADirectoryError,
    numbers.ENOTDIR: RemoteNotADirectoryError,
    numbers.EEXIST: RemoteFileExistsError,
    numbers.ENOSPC: RemoteNoSpaceError,
    numbers.EDQUOT: RemoteNoSpaceError,
}

_CONTEXT: Final = (
    *("operation", "request_id", "retry_after", "attempts", "outcome", "idempotency_key"),
    *("vm_id", "run_id", "session_id", "file"),
)
_OF_A_SERVER: Final = ("code", "status", "from_service", "from_store", "details", "recovery", "stage", "matched")


def number_of(name: str) -> int | None:
    """Return the number of an error by its name, such as ``ENOENT``; None if this system has none."""
    number = getattr(numbers, name, None) if name.startswith("E") else None
    return number if isinstance(number, int) else None


def remote_file_error(
    path: str, number: int | None, reason: str | None = None, *, said: ArkerError | None = None
) -> RemoteFileError:
    """Return the error of the class for an error number.

    Args:
        path: The path in the VM.
        number: The error number; None if it is not known.
        reason: The reason, where it is not the one that this system gives for the number.
        said: The error that it stands for, whose context is taken over; of a server's error also code and status.
    """
    text = reason or (os.strerror(number) if number is not None else "the VM refused it")
    cls = RemotePathError if number is None else _KINDS.get(number, RemotePathError)
    error = cls(f"{path}: {text}", errno=number, strerror=text, filename=path, file=path)
    if said is not None:
        names = (*_CONTEXT, *_OF_A_SERVER) if isinstance(said, ApiError) else _CONTEXT
        error.with_context(**{name: getattr(said, name) for name in names})
        error.file = error.file or path
    return error


__all__ = [
    "RemoteFileError",
    "RemoteFileExistsError",
    "RemoteFileNotFoundError",
    "RemoteIsADirectoryError",
    "RemoteNoSpaceError",
    "RemoteNotADirectoryError",
    "RemotePathError",
    "RemotePermissionError",
    "number_of",
    "remote_file_error",
]
