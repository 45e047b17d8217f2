"""Calls on files: read and write them, inline, in chunks or by presigned URLs (contract, section 6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import evolve

from arker import models
from arker._protocol import routes
from arker._protocol.address import Address
from arker._protocol.calls.shared import T, into
from arker._protocol.codec import codec
from arker._protocol.codec.hooks import Misfit, is_array, is_object
from arker._protocol.reader import Reader
from arker._protocol.reply import api_error, concluded
from arker._protocol.request import Call, Decode, Ending, Request
from arker._protocol.retryable import is_retryable_answer
from arker.errors import ApiError, ArkerError

if TYPE_CHECKING:
    from arker.models import (
        SyncChunkWrite,
        SyncChunkWriteResult,
        SyncCommitWriteResult,
        SyncManifestResponse,
        SyncPresignedWriteCommit,
        SyncPresignedWriteRequest,
        SyncPresignedWriteRequestResult,
        SyncReadInlineResponse,
        SyncReadPresignedResponse,
    )

Written = TypeVar("Written", "SyncChunkWriteResult", "SyncCommitWriteResult")


_SYNC: Final = "vm.sync"


_SUCCESS: Final = (True, True, None)
_PLACEHOLDER: Final = "0" * 64
"""In place of a digest that is not known yet."""


def read_file(at: Address, path: str) -> Call[SyncReadInlineResponse | SyncReadPresignedResponse]:
    return Call(
        _SYNC,
        Request("POST", at.base_url, routes.sync(at.vm_id), body=codec.dumps(models.SyncReadRequest(path))),
        _read_result,
        evidence=("content", "presigned_url"),
        vm_id=at.vm_id,
        changes_something=False,
    )


def _read_result(payload: dict[str, Any], reader: Reader) -> SyncReadInlineResponse | SyncReadPresignedResponse:
    if isinstance(payload.get("presigned_url"), str):
        return reader.structure(payload, models.SyncReadPresignedResponse)
    if "content" in payload:
        result = reader.structure(payload, models.SyncReadInlineResponse)
        if result.size is not None and len(result.content) != result.size:
            raise Misfit(f"says {result.size}, but $.content has {len(result.content)} bytes", "$.size")
        return result
    raise Misfit("has neither content nor a presigned_url", "$")


def list_files(at: Address, path: str) -> Call[SyncManifestResponse]:
    """List the files in a directory with their digests."""
    return Call(
        _SYNC,
        Request("POST", at.base_url, routes.sync(at.vm_id), body=codec.dumps(models.SyncManifestRequest(path))),
        into(models.SyncManifestResponse),
        evidence=("entries",),
        vm_id=at.vm_id,
        changes_something=False,
    )


def write_whole(
    at: Address, entry: SyncChunkWrite, digest: Callable[[], Awaitable[str]] | None = None
) -> Call[SyncChunkWriteResult]:
    """Write a file in its only chunk.

    Args:
        at: The VM.
        entry: The chunk.
        digest: Returns its digest, if that is still being computed while the content is sent.
    """
    decode = _finished(models.SyncChunkWriteResult)
    if digest is None:
        return _write(at, codec.dumps_chunk(entry), decode)
    body, rest = codec.dumps_chunk_in_two(evolve(entry, sha256=_PLACEHOLDER))
    return _write(at, body, decode, ending=Ending(len(rest), partial(_with_digest, rest, digest)))


async def _with_digest(rest: bytes, digest: Callable[[], Awaitable[str]]) -> bytes:
    return rest.replace(_PLACEHOLDER.encode(), (await digest()).encode())


def request_puts(
    at: Address, entries: Sequence[SyncPresignedWriteRequest]
) -> Call[list[SyncPresignedWriteRequestResult]]:
    """Request URLs for several files in one request. The first refused entry is the error."""
    body = codec.dumps(models.SyncWriteRequest(tuple(entries)))
    decode = partial(_every_result, models.SyncPresignedWriteRequestResult, len(entries))
    return _write(at, body, decode, changes_something=False)


def write_chunk(at: Address, entry: SyncChunkWrite) -> Call[SyncChunkWriteResult]:
    """Write one chunk of several."""
    return _write(at, codec.dumps_chunk(entry), _only(models.SyncChunkWriteResult))


def write_each(at: Address, entries: Sequence[bytes], settle: Callable[[int, ArkerError | None], None]) -> Call[None]:
    """Write several files, each in its only chunk.

    Args:
        at: The VM.
        entries: The files, as `arker._protocol.codec.codec.dumps_whole` gives them.
        settle: Called with each entry's number when it is written, or with its refusal. An entry that may succeed later
            is not reported; then the whole result is the error that asks for a retry.
    """
    return _write(at, codec.dumps_entries(entries), partial(_settle_each, settle, len(entries)))


def _settle_each(
    settle: Callable[[int, ArkerError | None], None], count: int, payload: dict[str, Any], reader: Reader
) -> None:
    passing: ArkerError | None = None
    for number, result in enumerate(_results(payload, count)):
        if is_object(result) and (result.get("complete"), result.get("written"), result.get("error")) == _SUCCESS:
            settle(number, None)  # of thousands of small files, nearly all are
            continue
        try:
            _check_finished(_result_of(models.SyncChunkWriteResult, number, result, reader))
        except ApiError as error:
            if is_retryable_answer(error.status, error.code, error.message):
                passing = error
            else:
                settle(number, error)
    try:
        if passing is not None:
            raise passing
    finally:
        del passing  # its traceback has this frame


def commit_put(at: Address, entry: SyncPresignedWriteCommit) -> Call[SyncCommitWriteResult]:
    body = codec.dumps(models.SyncWriteRequest((entry,)))
    return _write(at, body, _finished(models.SyncCommitWriteResult))


def _write(
    at: Address, body: bytes, decode: Decode[T], *, changes_something: bool = True, ending: Ending | None = None
) -> Call[T]:
    request = Request("POST", at.base_url, routes.sync(at.vm_id), body=body, ending=ending)
    return Call(_SYNC, request, decode, evidence=("results",), vm_id=at.vm_id, changes_something=changes_something)


def _only(cls: type[T]) -> Decode[T]:
    return partial(_only_result, cls)


def _finished(cls: type[Written]) -> Decode[Written]:
    return partial(_finished_result, cls)


def _finished_result(cls: type[Written], payload: dict[str, Any], reader: Reader) -> Written:
    return _check_finished(_only_result(cls, payload, reader))


def _check_finished(result: Written) -> Written:
    """Check the end of a write: only ``complete`` and ``written`` together are success (contract, section 6)."""
    if not (result.complete and result.written):
        facts = f"complete: {str(result.complete).lower()}, written: {str(result.written).lower()}"
        raise concluded("internal", f"the server did not write the file ({facts})")
    return result


def _only_result(cls: type[T], payload: dict[str, Any], reader: Reader) -> T:
    return _every_result(cls, 1, payload, reader)[0]


def _every_result(cls: type[T], count: int, payload: dict[str, Any], reader: Reader) -> list[T]:
    return [_result_of(cls, number, result, reader) for number, result in enumerate(_results(payload, count))]


def _results(payload: dict[str, Any], count: int) -> Sequence[object]:
    results: object = payload.get("results")
    if not is_array(results):
        raise Misfit("expected an array" if "results" in payload else "is missing", "$.results")
    if len(results) != count:
        wanted = "one result, for the one entry that was sent" if count == 1 else f"{count} results, one for each entry"
        raise Misfit(f"expected {wanted}", "$.results")
    return results


def _result_of(cls: type[T], number: int, result: object, reader: Reader) -> T:
    failure = result.get("error") if is_object(result) else None
    if failure is not None:
        raise _refused(number, failure, reader)
    return _inside(f"$.results[{number}]", result, cls, reader)


def _refused(number: int, failure: object, reader: Reader) -> ApiError:
    """Return the error of an entry that was refused."""
    error = _inside(f"$.results[{number}].error", failure, models.ErrorResponse, reader)
    refused = api_error(error.code, error.message, status=200)
    details: object = failure.get("details") if is_object(failure) else None
    refused.details = dict(details) if is_object(details) else {}
    return refused


def _inside(where: str, value: object, cls: type[T], reader: Reader) -> T:
    try:
        return reader.structure(value, cls)
    except Misfit as misfit:
        raise Misfit(misfit.problem, where + misfit.path.removeprefix("$")) from None


__all__ = ["commit_put", "list_files", "read_file", "request_puts", "write_chunk", "write_each", "write_whole"]
