"""Shared parts of the calls: decoders, and the usual reads, creations and deletions."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

from arker._protocol.codec import codec
from arker._protocol.identifiers import new_idempotency_key
from arker._protocol.queries import Query
from arker._protocol.reader import Reader
from arker._protocol.request import Call, Decode, Replay, Request

T = TypeVar("T")


def into(cls: type[T]) -> Decode[T]:
    """Return a decoder of a reply into a model class."""
    return partial(_structure, cls)


def _structure(cls: type[T], payload: dict[str, Any], reader: Reader) -> T:
    return reader.structure(payload, cls)


def acknowledging(cls: type[T], field: str) -> Decode[T]:
    """Return a decoder of a reply that acknowledges something by a field of a model."""
    return partial(_acknowledge, cls, field)


def _acknowledge(cls: type[T], field: str, payload: dict[str, Any], reader: Reader) -> T:
    return reader.acknowledgement(payload, cls, field)


Names = tuple[str, ...]


def get(
    operation: str,
    base_url: str,
    path: str,
    result: type[T],
    evidence: Names,
    query: Query | None = None,
    *,
    vm_id: str | None = None,
) -> Call[T]:
    """Make a read call.

    Args:
        operation: Its name.
        base_url: Its base URL.
        path: Its path below that.
        result: The model class of the reply.
        evidence: See `Call`.
        query: Its query.
        vm_id: The VM that it is about.
    """
    request = Request("GET", base_url, path, "" if query is None else query.encoded())
    return Call(operation, request, into(result), evidence=evidence, vm_id=vm_id)


def create(
    operation: str,
    base_url: str,
    path: str,
    body: object,
    result: type[T],
    evidence: Names,
    *,
    vm_id: str | None = None,
) -> Call[T]:
    """Make a creating POST. A server may ignore its key, so it is repeated only if nothing was sent."""
    return Call(
        operation,
        Request("POST", base_url, path, body=codec.dumps(body), idempotency_key=new_idempotency_key()),
        into(result),
        Replay.UNSENT,
        evidence=evidence,
        vm_id=vm_id,
    )


def delete(operation: str, base_url: str, path: str, gone: T, *, vm_id: str | None = None) -> Call[T]:
    """Make a deletion, whose result is ``gone`` if a repeated one finds nothing."""
    decode = acknowledging(type(gone), "deleted")
    request = Request("DELETE", base_url, path)
    return Call(operation, request, decode, gone=gone, evidence=("deleted",), acknowledged=True, vm_id=vm_id)


__all__ = ["Names", "T", "acknowledging", "create", "delete", "get", "into"]
