"""What goes into transfers of files and comes out: sources and targets, how far they are, what has become of them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterable
from mmap import mmap
from pathlib import PurePosixPath
from typing import IO, Literal, TypeAlias

from attrs import frozen

from arker.errors import ArkerError

Direction: TypeAlias = Literal["upload", "download"]

UploadWay: TypeAlias = Literal["inline", "put", "parts", "chunks"]
DownloadWay: TypeAlias = Literal["inline", "get", "ranges"]

Strategy: TypeAlias = Literal["auto"] | UploadWay
"""How a file goes into a VM (contract, section 6): ``inline`` in one request; ``put`` by one presigned PUT; ``parts``
by several at once, joined in the VM; ``chunks`` by several inline requests; ``auto`` as size and server suggest."""

Verify: TypeAlias = Literal["size", "full"]
"""What is checked of a file that was joined of parts, each of which the server has checked by its digest: its size, or
its whole digest as well, by one more reading on both sides."""

LocalPath: TypeAlias = str | os.PathLike[str]
RemotePath: TypeAlias = str | PurePosixPath
"""A path in a VM: absolute, or from the home directory, which ``~/`` at the beginning stands for as well."""

UploadSource: TypeAlias = (
    LocalPath | bytes | bytearray | memoryview | mmap | IO[bytes] | AsyncIterable[bytes] | Iterable[bytes]
)
"""A local file by its path, bytes (or what holds them in memory, such as an `mmap.mmap`: all of it), a binary file
object (from where it stands), or bytes that come piece by piece, from an asynchronous iterable or an ordinary one."""

DownloadTarget: TypeAlias = LocalPath | IO[bytes]
"""A local file by its path, or a binary file object that can be written to."""


@frozen(kw_only=True)
class TransferProgress:
    """How far a transfer is: at its beginning, about every MiB, when a file is done, and at the end.

    Attributes:
        operation: Name of the operation, such as ``"vm.upload"``.
        vm_id: The VM's id.
        path: The path in the VM of the file that got on; of a whole directory, its path in the VM.
        direction: ``"upload"`` or ``"download"``.
        done: Bytes so far, of all files together. It goes back when something has to be sent again.
        total: Bytes in all; None while that is not known.
        files_done: Files that are done, failed ones included.
        files_total: Files in all.
        files_failed: Files that have failed.
        seconds: Since the transfer began.
    """

    operation: str
    vm_id: str
    path: str
    direction: Direction
    done: int
    total: int | None
    files_done: int = 0
    files_total: int = 1
    files_failed: int = 0
    seconds: float = 0.0

    @property
    def fraction(self) -> float | None:
        """The share that is done, from 0 to 1; None while the total is not known."""
        if self.total is None:
            return None
        return min(1.0, self.done / self.total) if self.total else float(self.files_done == self.files_total)


@frozen(kw_only=True)
class TransferResult:
    """A file that has been moved.

    Attributes:
        path: Where it is in the VM.
        size: Its size in bytes.
        strategy: How it went: one of `Strategy`, of a download ``inline``, ``get`` (one request) or ``ranges``.
        seconds: How long it took.
        sha256: Its digest in lower-case hex, where the transfer has come to know it.
    """

    path: str
    size: int
    strategy: UploadWay | DownloadWay
    seconds: float
    sha256: str | None = None


@frozen(kw_only=True)
class FileOutcome:
    """What became of one file of several.

    Attributes:
        path: Where it is in the VM.
        local: Where it is here, if that is a path.
        size: Its size in bytes; None where it failed before that was known.
        error: Why it was not moved; None when it was.
        seconds: How long it took, from the beginning of its own work.
    """

    path: str
    local: str | None
    size: int | None
    error: ArkerError | None
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it was moved."""
        return self.error is None


__all__ = [
    "Direction",
    "DownloadTarget",
    "FileOutcome",
    "LocalPath",
    "RemotePath",
    "Strategy",
    "TransferProgress",
    "TransferResult",
    "UploadSource",
    "Verify",
]
