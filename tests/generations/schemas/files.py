"""Files: reads, writes and manifests."""

from __future__ import annotations

from typing import Final

from tests.generations.schemas.notation import (
    BOOLEAN,
    COUNT,
    FILLED,
    MAYBE_TEXT,
    TEXT,
    UINT32,
    Schema,
    Schemas,
    closed,
    either,
    integer,
    one_of,
    or_null,
    ref,
    some,
    text,
)

_ERROR: Final = or_null(ref("SyncFileError"))
_PRESIGNED: Final = {"presigned_url*": TEXT, "expires_in*": COUNT, "method*": TEXT}
_DONE: Final = {"complete*": BOOLEAN, "written*": BOOLEAN, "error": _ERROR}
_OF_A_FILE: Final = closed({"resource*": one_of("file", "upload", "resource")})


def _failure(code: str, **details: Schema) -> Schema:
    """Return the schema of an error of one file. Details called ``some_details`` have to be there."""
    members = {"some_details": "details*"}
    return closed(
        {"code*": one_of(code), "message*": FILLED, **{members.get(name, name): its for name, its in details.items()}}
    )


FILES: Final[Schemas] = {
    "SyncRequest": either(
        ref("SyncReadOperationRequest"), ref("SyncWriteOperationRequest"), ref("SyncManifestOperationRequest")
    ),
    "SyncReadOperationRequest": closed({"op*": one_of("read"), "path*": TEXT}),
    "SyncWriteOperationRequest": closed({"op*": one_of("write"), "writes*": some(ref("SyncWriteEntry"), minItems=1)}),
    "SyncManifestOperationRequest": closed({"op*": one_of("manifest"), "path*": FILLED}),
    "SyncWriteEntry": either(ref("SyncChunkWrite"), ref("SyncPresignedWriteRequest"), ref("SyncPresignedWriteCommit")),
    "SyncChunkWrite": closed(
        {
            "path*": TEXT,
            "size*": COUNT,
            "upload_id*": TEXT,
            "content*": TEXT,
            "start*": COUNT,
            "end*": COUNT,
            "sha256": MAYBE_TEXT,
            "is_secret": BOOLEAN,
        }
    ),
    "SyncPresignedWriteRequest": closed({"path*": TEXT, "size*": COUNT, "presigned*": BOOLEAN, "is_secret": BOOLEAN}),
    "SyncPresignedWriteCommit": closed({"path*": TEXT, "size*": COUNT, "upload_id*": TEXT, "sha256": MAYBE_TEXT}),
    "SyncResponse": either(ref("SyncReadResponse"), ref("SyncWriteResponse"), ref("SyncManifestResponse")),
    "SyncReadResponse": either(ref("SyncReadInlineResponse"), ref("SyncReadPresignedResponse")),
    "SyncReadInlineResponse": closed(
        {
            "ok*": BOOLEAN,
            "op*": one_of("read"),
            "path*": TEXT,
            "size*": COUNT,
            "content*": TEXT,
            "encoding*": one_of("utf8", "base64"),
        }
    ),
    "SyncReadPresignedResponse": closed(
        {"ok*": BOOLEAN, "op*": one_of("read"), "path*": TEXT, "size*": COUNT, **_PRESIGNED}
    ),
    "SyncWriteResponse": closed({"ok*": BOOLEAN, "op*": one_of("write"), "results*": some(ref("SyncWriteResult"))}),
    "SyncWriteResult": either(
        ref("SyncChunkWriteResult"), ref("SyncPresignedWriteRequestResult"), ref("SyncCommitWriteResult")
    ),
    "SyncChunkWriteResult": closed(
        {"path*": TEXT, "size*": COUNT, "received_bytes*": COUNT, "ranges*": some(ref("SyncByteRange")), **_DONE}
    ),
    "SyncPresignedWriteRequestResult": closed(
        {"path*": TEXT, "size*": COUNT, "upload_id*": TEXT, **_PRESIGNED, **_DONE}
    ),
    "SyncCommitWriteResult": closed({"path*": TEXT, "size*": COUNT, **_DONE}),
    "SyncByteRange": closed({"start*": COUNT, "end*": COUNT}),
    "SyncManifestResponse": closed(
        {
            "root*": TEXT,
            "hash_algo*": one_of("sha256"),
            "entries*": some(ref("ManifestEntry"), maxItems=50_000),
            "truncated*": BOOLEAN,
        }
    ),
    "ManifestEntry": closed(
        {"path*": FILLED, "size*": COUNT, "mode*": integer(0, UINT32), "hash*": text(pattern="^[0-9a-f]{64}$")}
    ),
    "SyncFileError": either(
        *[
            ref(f"Sync{name}Error")
            for name in (
                "BadRequest",
                "NotFound",
                "Conflict",
                "PayloadTooLarge",
                "UnsupportedOperation",
                "Unavailable",
                "Internal",
                "Expired",
            )
        ]
    ),
    "SyncBadRequestError": _failure("bad_request", details=ref("BadRequestDetails")),
    "SyncNotFoundError": _failure("not_found", some_details=_OF_A_FILE),
    "SyncConflictError": _failure("conflict", some_details=_OF_A_FILE),
    "SyncPayloadTooLargeError": _failure("payload_too_large", details=ref("PayloadTooLargeDetails")),
    "SyncUnsupportedOperationError": _failure(
        "unsupported_operation",
        some_details=closed(
            {
                "reason*": one_of("feature_not_supported"),
                "feature": ref("Feature"),
                "resource": closed({"kind*": one_of("file", "upload", "filesystem", "resource"), "id": FILLED}),
            }
        ),
    ),
    "SyncUnavailableError": _failure("unavailable"),
    "SyncInternalError": _failure("internal"),
    "SyncExpiredError": _failure("expired", some_details=closed({"resource*": one_of("upload")})),
}
