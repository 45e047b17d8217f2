"""Types of file transfers: sources and targets, progress, results and outcomes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from mmap import mmap
from pathlib import PurePosixPath
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from attrs import frozen

from arker.errors import ArkerError

Direction: TypeAlias = Literal["upload", "download"]

UploadWay: TypeAlias = Literal["inline", "put", "parts", "chunks"]
DownloadWay: TypeAlias = Literal["inline", "get", "ranges"]

Strategy: TypeAlias = Literal["auto"] | UploadWay
"""How a file is sent to a VM (contract, section 6): ``inline`` in one request; ``put`` by one presigned PUT; ``parts``
by several parallel PUTs, joined in the VM; ``chunks`` by several inline requests; ``auto`` by size and server."""

Verify: TypeAlias = Literal["size", "full"]
"""Which check a file gets after it was joined from parts: its size, or also the digest of the whole file, which reads
it once more on both sides. The server checks the digest of each part in any case."""

LocalPath: TypeAlias = str | os.PathLike[str]
RemotePath: TypeAlias = str | PurePosixPath
"""A path in a VM: absolute, or relative to the home directory, with or without ``~/`` at the start."""

Piece: TypeAlias = bytes | bytearray | memoryview
"""Some of the bytes of a file."""


@runtime_checkable
class ReadableFile(Protocol):
    """A binary file object that can be read: of `open`, `gzip`, `tempfile`, `zipfile`, aiofiles, or of one's own."""

    def read(self, size: int, /) -> bytes | Awaitable[bytes]:
        """Return the next bytes, some at least; none at the end. A coroutine function is awaited."""
        ...


@runtime_checkable
class WritableFile(Protocol):
    """A binary file object that can be written to."""

    def write(self, data: bytes, /) -> object:
        """Write some bytes; return how many of them, or None for all. A coroutine function is awaited."""
        ...


@runtime_checkable
class WritableText(Protocol):
    """A file object for text that can be written to."""

    def write(self, data: str, /) -> object:
        """Write text. A coroutine function is awaited."""
        ...


UploadSource: TypeAlias = (
    LocalPath | bytes | bytearray | memoryview | mmap | ReadableFile | AsyncIterable[Piece] | Iterable[Piece]
)
"""Path of a local file, bytes (or another whole buffer in memory, such as an `mmap.mmap`), a binary file object (read
from its current position), or an asynchronous or ordinary iterable of bytes."""

DownloadTarget: TypeAlias = LocalPath | WritableFile
"""Path of a local file, or a writable binary file object."""

OutputTarget: TypeAlias = Callable[[str], object] | WritableText | WritableFile
"""What takes the output of a command as it comes: a function that is given text, or a text or binary file object."""


@frozen(kw_only=True)
class TransferProgress:
    """The progress of a transfer: reported at the start, about every MiB, after each file, and at the end.

    Attributes:
        operation: Name of the operation, such as ``"vm.upload"``.
        vm_id: The VM's id.
        path: Path in the VM of the file that made progress; for a whole directory, the directory's path in the VM.
        direction: ``"upload"`` or ``"download"``.
        done: Bytes transferred so far, of all files together. It decreases when data has to be sent again.
        total: Total number of bytes; None while unknown.
        files_done: Number of finished files, including failed ones.
        files_total: Total number of files.
        files_failed: Number of failed files.
        seconds: Seconds since the start of the transfer.
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
        """The finished fraction, from 0 to 1; None while the total is unknown."""
        if self.total is None:
            return None
        return min(1.0, self.done / self.total) if self.total else float(self.files_done == self.files_total)


@frozen(kw_only=True)
class TransferResult:
    """The result of a file transfer.

    Attributes:
        path: Path of the file in the VM.
        size: Its size in bytes.
        strategy: How the file was sent: one of `Strategy`; for a download ``inline``, ``get`` (one request) or
            ``ranges``.
        seconds: Duration in seconds.
        sha256: Its digest in lower-case hex; None if the transfer did not compute it.
    """

    path: str
    size: int
    strategy: UploadWay | DownloadWay
    seconds: float
    sha256: str | None = None


@frozen(kw_only=True)
class FileOutcome:
    """The outcome for one of several files.

    Attributes:
        path: Path of the file in the VM.
        local: Local path of the file; None if it is not a path.
        size: Its size in bytes; None if the transfer failed before it was known.
        error: The error of a failed transfer; None after success.
        seconds: Duration in seconds, from the start of this file's own transfer.
    """

    path: str
    local: str | None
    size: int | None
    error: ArkerError | None
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the file was transferred."""
        return self.error is None

    def raise_for_error(self) -> None:
        """Raise the error of a failed transfer."""
        if self.error is not None:
            raise self.error


__all__ = [
    "Direction",
    "DownloadTarget",
    "FileOutcome",
    "LocalPath",
    "OutputTarget",
    "Piece",
    "ReadableFile",
    "RemotePath",
    "Strategy",
    "TransferProgress",
    "TransferResult",
    "UploadSource",
    "Verify",
    "WritableFile",
    "WritableText",
]
