"""One pure function for each operation of the contract (sections 5 and 6), giving a `Call` as a value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import frozen

from arker import _codec, _routes, models
from arker._codec_hooks import Misfit, is_array, is_object
from arker._decipher import api_error, concluded
from arker._reader import Reader, id_in, is_usable_id, salvaged_vm_id
from arker._retry import is_retryable_answer
from arker._wire import Call, Decode, QueryValue, Request, encode_query
from arker.errors import ApiError, ArkerError

if TYPE_CHECKING:
    from arker.models import (
        CancelRunResponse,
        DeleteVmResponse,
        ForkRequest,
        ListRunsResponse,
        ListVmsResponse,
        Run,
        RunRequest,
        RunResult,
        SyncChunkWrite,
        SyncChunkWriteResult,
        SyncCommitWriteResult,
        SyncPresignedWriteCommit,
        SyncPresignedWriteRequest,
        SyncPresignedWriteRequestResult,
        SyncReadInlineResponse,
        SyncReadPresignedResponse,
        Vm,
    )

T = TypeVar("T")
Written = TypeVar("Written", "SyncChunkWriteResult", "SyncCommitWriteResult")


def into(cls: type[T]) -> Decode[T]:
    """How a call's reply becomes a model of a class."""
    return partial(_structure, cls)


def _structure(cls: type[T], payload: dict[str, Any], reader: Reader) -> T:
    return reader.structure(payload, cls)


def acknowledging(cls: type[T], field: str) -> Decode[T]:
    """How a reply that something was done becomes a model of a class, whose field says so."""

    def decode(payload: dict[str, Any], reader: Reader) -> T:
        return reader.acknowledgement(payload, cls, field)

    return decode


@frozen
class Forked:
    """What is read of the reply to a fork that is posted once more: the VM's id, and when it was made, if it says."""

    vm_id: str
    created_at: str | None


@cache
def _deleted() -> DeleteVmResponse:
    return models.DeleteVmResponse(deleted=True)


# --- VMs -------------------------------------------------------------------------------------------------------------


VM_IDS: Final = ("vm_id", "id")


def fork(base_url: str, request: ForkRequest, key: str, found: Callable[[str], None]) -> Call[Vm]:
    """Fork a VM.

    Args:
        base_url: Where to.
        request: What is asked for.
        key: The idempotency key.
        found: Told the id of the VM as soon as it is known, before anything else of the reply is read.
    """

    def decode(payload: dict[str, Any], reader: Reader) -> Vm:
        vm_id = id_in(payload, VM_IDS)
        if vm_id is not None:
            found(vm_id)
        return _vm_of(payload, reader)

    def salvage(body: bytes) -> Vm | None:
        vm_id = salvaged_vm_id(body)
        if vm_id is None:
            return None
        found(vm_id)
        return models.Vm(vm_id=vm_id)

    request_ = Request("POST", base_url, _routes.FORK, body=_codec.dumps(request), idempotency_key=key)
    return Call("fork", request_, decode, evidence=VM_IDS, makes_vm=True, salvage=salvage)


def fork_again(base_url: str, body: bytes, key: str) -> Call[Forked]:
    """Post a fork once more that may have been posted before; only its id is read."""
    request = Request("POST", base_url, _routes.FORK, body=body, idempotency_key=key)

    def decode(payload: dict[str, Any], _: Reader) -> Forked:
        vm_id, created_at = id_in(payload, VM_IDS), payload.get("created_at")
        if vm_id is None:
            raise Misfit("is missing, or none that paths can be made of", "$.vm_id")
        return Forked(vm_id, created_at if isinstance(created_at, str) else None)

    def salvage(reply: bytes) -> Forked | None:
        vm_id = salvaged_vm_id(reply)
        return None if vm_id is None else Forked(vm_id, None)

    return Call("reap", request, decode, evidence=VM_IDS, makes_vm=True, salvage=salvage)


def get_vm(base_url: str, vm_id: str) -> Call[Vm]:
    return Call("get_vm", Request("GET", base_url, _routes.vm(vm_id)), _vm_of, evidence=VM_IDS)


def _vm_of(payload: dict[str, Any], reader: Reader) -> Vm:
    """A VM that a handle is made of: its id must be one that paths can be made of."""
    vm = reader.structure(payload, models.Vm)
    if not is_usable_id(vm.vm_id):
        raise Misfit(f"expected an id, got {vm.vm_id!r}", "$.vm_id")
    return vm


def list_vms(control_base_url: str, parameters: Mapping[str, QueryValue]) -> Call[ListVmsResponse]:
    return Call(
        "list_vms",
        Request("GET", control_base_url, _routes.VMS, encode_query(parameters)),
        into(models.ListVmsResponse),
        evidence=("vms",),
    )


def delete_vm(base_url: str, vm_id: str) -> Call[DeleteVmResponse]:
    return Call(
        "vm.delete",
        Request("DELETE", base_url, _routes.vm(vm_id)),
        acknowledging(models.DeleteVmResponse, "deleted"),
        gone=_deleted(),
        needs_proof=True,
        evidence=("deleted",),
        acknowledged=True,
    )


# --- runs ------------------------------------------------------------------------------------------------------------


def run(
    base_url: str, vm_id: str, request: RunRequest, key: str, probe: Callable[[], Awaitable[None]] | None = None
) -> Call[RunResult]:
    """Run a command; one in the foreground, too, may be answered by a `BackgroundRunResult`."""
    return Call(
        "vm.run",
        Request(
            "POST",
            base_url,
            _routes.runs(vm_id),
            body=_codec.dumps(request),
            idempotency_key=key,
            awaits_work=request.background is None,
        ),
        _run_result,
        evidence=_RUN,
        probe=probe,
    )


_RUN: Final = ("stdout", "stderr", "state")


def _run_result(payload: dict[str, Any], reader: Reader) -> RunResult:
    outputs = [payload.get(name) for name in ("stdout", "stderr")]
    if isinstance(outputs[0], str) if reader.strict else any(isinstance(output, str) for output in outputs):
        # Of an output that is absent nothing says that there is none: the run itself is read, if that is possible.
        whole = "stdout" in payload and "stderr" in payload
        if whole or reader.strict or not is_usable_id(payload.get("run_id")):
            return reader.structure(payload, models.CompletedRunResult)
    if is_usable_id(payload.get("run_id")):
        return reader.structure(payload, models.BackgroundRunResult)
    raise Misfit("has neither a string stdout (a completed run) nor a string run_id (a background run)", "$")


def get_run(base_url: str, vm_id: str, run_id: str) -> Call[Run]:
    def decode(payload: dict[str, Any], reader: Reader) -> Run:
        # Which run it is, is known already.
        named = payload if reader.strict or is_usable_id(payload.get("run_id")) else {**payload, "run_id": run_id}
        return reader.structure(named, models.Run)

    return Call("vm.get_run", Request("GET", base_url, _routes.run(vm_id, run_id)), decode, evidence=_RUN)


def list_runs(base_url: str, vm_id: str, parameters: Mapping[str, QueryValue]) -> Call[ListRunsResponse]:
    return Call(
        "vm.list_runs",
        Request("GET", base_url, _routes.runs(vm_id), encode_query(parameters)),
        into(models.ListRunsResponse),
        evidence=("runs",),
    )


def cancel_run(base_url: str, vm_id: str, run_id: str) -> Call[CancelRunResponse]:
    return Call(
        "vm.cancel_run",
        Request("DELETE", base_url, _routes.run(vm_id, run_id)),
        acknowledging(models.CancelRunResponse, "cancelled"),
        gone=models.CancelRunResponse(cancelled=True),
        evidence=("cancelled",),
        acknowledged=True,
    )


# --- files -----------------------------------------------------------------------------------------------------------

_SYNC: Final = "vm.sync"
_SUCCESS: Final = (True, True, None)


def read_file(base_url: str, vm_id: str, path: str) -> Call[SyncReadInlineResponse | SyncReadPresignedResponse]:
    return Call(
        _SYNC,
        Request("POST", base_url, _routes.sync(vm_id), body=_codec.dumps(models.SyncReadRequest(path))),
        _read_result,
        evidence=("content", "presigned_url"),
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


def write_whole(base_url: str, vm_id: str, entry: SyncChunkWrite) -> Call[SyncChunkWriteResult]:
    """Write a file in its only chunk."""
    return _write(base_url, vm_id, _codec.dumps_chunk(entry), _finished(models.SyncChunkWriteResult))


def request_puts(
    base_url: str, vm_id: str, entries: Sequence[SyncPresignedWriteRequest]
) -> Call[list[SyncPresignedWriteRequestResult]]:
    """URLs for several files in one request; the first entry that is refused is the error."""
    body = _codec.dumps(models.SyncWriteRequest(tuple(entries)))
    decode = partial(_every_result, models.SyncPresignedWriteRequestResult, len(entries))
    return _write(base_url, vm_id, body, decode, changes_something=False)


def write_chunk(base_url: str, vm_id: str, entry: SyncChunkWrite) -> Call[SyncChunkWriteResult]:
    """Write one chunk of several."""
    return _write(base_url, vm_id, _codec.dumps_chunk(entry), _only(models.SyncChunkWriteResult))


def write_each(
    base_url: str,
    vm_id: str,
    entries: Sequence[bytes],
    settle: Callable[[int, ArkerError | None], None],
) -> Call[None]:
    """Write several files, each in its only chunk.

    Args:
        base_url: The VM's.
        vm_id: The VM's id.
        entries: The files, as `arker._codec.dumps_whole` gives them.
        settle: Told of each entry by its number that it is written, or why it was refused. One that may succeed later
            is not told of; then the whole is the error that tells to try again.
    """
    return _write(base_url, vm_id, _codec.dumps_entries(entries), partial(_settle_each, settle, len(entries)))


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
    if passing is not None:
        raise passing


def commit_put(base_url: str, vm_id: str, entry: SyncPresignedWriteCommit) -> Call[SyncCommitWriteResult]:
    body = _codec.dumps(models.SyncWriteRequest((entry,)))
    return _write(base_url, vm_id, body, _finished(models.SyncCommitWriteResult))


def _write(base_url: str, vm_id: str, body: bytes, decode: Decode[T], *, changes_something: bool = True) -> Call[T]:
    request = Request("POST", base_url, _routes.sync(vm_id), body=body)
    return Call(_SYNC, request, decode, evidence=("results",), changes_something=changes_something)


def _only(cls: type[T]) -> Decode[T]:
    return partial(_only_result, cls)


def _finished(cls: type[Written]) -> Decode[Written]:
    return partial(_finished_result, cls)


def _finished_result(cls: type[Written], payload: dict[str, Any], reader: Reader) -> Written:
    return _check_finished(_only_result(cls, payload, reader))


def _check_finished(result: Written) -> Written:
    """The end of a write: only ``complete`` and ``written`` together are success (contract, section 6)."""
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
        error = _inside(f"$.results[{number}].error", failure, models.ErrorResponse, reader)
        raise api_error(error.code, error.message, status=200)
    return _inside(f"$.results[{number}]", result, cls, reader)


def _inside(where: str, value: object, cls: type[T], reader: Reader) -> T:
    try:
        return reader.structure(value, cls)
    except Misfit as misfit:
        raise Misfit(misfit.problem, where + misfit.path.removeprefix("$")) from None


__all__ = [
    "Forked",
    "acknowledging",
    "cancel_run",
    "commit_put",
    "delete_vm",
    "fork",
    "fork_again",
    "get_run",
    "get_vm",
    "into",
    "list_runs",
    "list_vms",
    "read_file",
    "request_puts",
    "run",
    "write_chunk",
    "write_each",
    "write_whole",
]
