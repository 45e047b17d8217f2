"""File transfer: what `POST /v1/vms/{id}/sync` takes and answers (contract, section 6)."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from attrs import field, frozen

from arker.models._reply import Reply, declared

CHUNK_SIZE: Final = 4 * 1024 * 1024
"""Size in bytes up to which a file goes inline, in one chunk (contract, section 6)."""

MAX_PUT_SIZE: Final = 5 * 1024 * 1024 * 1024
"""Size in bytes of the largest body that an object store takes in one PUT (contract, section 7)."""


@frozen
class ErrorResponse:
    """An error as the server words it."""

    code: str
    message: str


@frozen
class SyncByteRange:
    """The bytes ``[start, end)`` of a file."""

    start: int
    end: int


@frozen
class SyncReadRequest:
    """Ask for a file."""

    path: str
    op: Literal["read"] = field(default="read", init=False)


@frozen(kw_only=True)
class SyncReadInlineResponse(Reply):
    """A file, whole.

    Attributes:
        path: Where it is in the VM.
        size: Its size in bytes.
        content: Its bytes.
        encoding: How they came over the wire.
    """

    path: str | None = declared()
    size: int | None = declared()
    content: bytes = field(repr=False)
    encoding: str = declared("utf-8")


@frozen(kw_only=True)
class SyncReadPresignedResponse(Reply):
    """Where to fetch a file, with no authorization header.

    Attributes:
        path: Where it is in the VM.
        size: Its size in bytes.
        presigned_url: Where to fetch it. A secret, so it is not in the repr.
        expires_in: Seconds until the URL dies.
        method: The HTTP method to use.
    """

    path: str | None = declared()
    size: int
    presigned_url: str = field(repr=False)
    expires_in: float | None = declared()
    method: str = "GET"


SyncReadResponse: TypeAlias = SyncReadInlineResponse | SyncReadPresignedResponse


@frozen(kw_only=True)
class SyncChunkWrite:
    """Write the bytes ``[start, end)`` of a file of ``size`` bytes.

    Attributes:
        path: Where the file goes in the VM.
        size: Size of the whole file, in bytes.
        upload_id: A ULID that the client makes; the chunks of one file share it.
        content: The bytes; they go over the wire in base64.
        start: Where they start in the file.
        end: Where they end, exclusive.
        sha256: Digest of the whole file, in lower-case hex.
    """

    path: str
    size: int
    upload_id: str
    content: bytes | memoryview = field(repr=False)
    start: int
    end: int
    sha256: str | None = None


@frozen(kw_only=True)
class SyncPresignedWriteRequest:
    """Ask for a URL to PUT a whole file of ``size`` bytes to."""

    path: str
    size: int
    presigned: Literal[True] = field(default=True, init=False)


@frozen(kw_only=True)
class SyncPresignedWriteCommit:
    """Put a file that was sent to its presigned URL into place."""

    path: str
    size: int
    upload_id: str
    sha256: str | None = None


SyncWriteEntry: TypeAlias = SyncChunkWrite | SyncPresignedWriteRequest | SyncPresignedWriteCommit


@frozen
class SyncWriteRequest:
    """Write files: one result comes back for each entry, in order."""

    writes: tuple[SyncWriteEntry, ...]
    op: Literal["write"] = field(default="write", init=False)


@frozen(kw_only=True)
class SyncChunkWriteResult(Reply):
    """What the server holds of a file after a chunk."""

    path: str | None = None
    size: int | None = None
    received_bytes: int | None = None
    ranges: tuple[SyncByteRange, ...] = ()
    complete: bool = False
    written: bool = False
    error: ErrorResponse | None = None


@frozen(kw_only=True)
class SyncPresignedWriteRequestResult(Reply):
    """Where to PUT a whole file, with no authorization header."""

    path: str | None = None
    size: int | None = None
    presigned_url: str = field(repr=False)
    upload_id: str
    expires_in: float | None = declared()
    method: str = "PUT"
    complete: bool = False
    written: bool = False
    error: ErrorResponse | None = None


@frozen(kw_only=True)
class SyncCommitWriteResult(Reply):
    """Whether a file that was PUT is in place."""

    path: str | None = None
    size: int | None = None
    complete: bool = False
    written: bool = False
    error: ErrorResponse | None = None


SyncWriteResult: TypeAlias = SyncChunkWriteResult | SyncPresignedWriteRequestResult | SyncCommitWriteResult


@frozen(kw_only=True)
class SyncWriteResponse(Reply):
    """One result for each entry of a write, in order; each is of the kind that its entry asks for."""

    results: tuple[SyncWriteResult, ...] = ()


__all__ = [
    "CHUNK_SIZE",
    "MAX_PUT_SIZE",
    "ErrorResponse",
    "SyncByteRange",
    "SyncChunkWrite",
    "SyncChunkWriteResult",
    "SyncCommitWriteResult",
    "SyncPresignedWriteCommit",
    "SyncPresignedWriteRequest",
    "SyncPresignedWriteRequestResult",
    "SyncReadInlineResponse",
    "SyncReadPresignedResponse",
    "SyncReadRequest",
    "SyncReadResponse",
    "SyncWriteEntry",
    "SyncWriteRequest",
    "SyncWriteResponse",
    "SyncWriteResult",
]
