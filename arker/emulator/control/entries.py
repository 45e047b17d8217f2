"""What the backend remembers of requests, commands and forks: data classes only, shared by both ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs
from attrs import frozen

T = TypeVar("T")


@frozen(kw_only=True)
class RequestEntry:
    """A request that reached the backend, and its outcome.

    Attributes:
        seq: Its number; later ones have greater numbers. It is given when the outcome is settled.
        request_id: The reply's ``x-request-id``.
        t_ms: When it arrived, by the backend's clock, in milliseconds since the epoch.
        method: HTTP method.
        path: The path below the base URL (a presigned URL's from its root), as it was sent, and never the query.
        operation: The operation's name as in the OpenAPI document, ``presigned_put`` or ``presigned_get``; None for a
            path that stands for none.
        status: The HTTP status that was sent; 0 when the connection ended, or stays open, without a reply.
        total_ms: Milliseconds until the outcome was settled.
        idempotency_key: Its ``Idempotency-Key``.
        vm_id: The VM of the request; of a fork, the new VM.
        run_id: The run of the request.
        fault_id: The fault that fired: the one that replaced the outcome, otherwise the first.
        fault_ids: Every fault that fired.
        processed: Whether it was carried out, whether or not it succeeded.
    """

    seq: int
    request_id: str
    t_ms: int
    method: str
    path: str
    operation: str | None = None
    status: int
    total_ms: float
    idempotency_key: str | None = None
    vm_id: str | None = None
    run_id: str | None = None
    fault_id: str | None = None
    fault_ids: tuple[str, ...] = ()
    processed: bool


@frozen(kw_only=True)
class Execution:
    """A command that was really started.

    Attributes:
        seq: Its number; later ones have greater numbers.
        run_id: Its run.
        vm_id: The VM.
        idempotency_key: The key of the request that it was first asked for with.
        command: The command, its first 4,096 characters.
        t_ms: When, by the backend's clock, in milliseconds since the epoch.
    """

    seq: int
    run_id: str
    vm_id: str
    idempotency_key: str | None = None
    command: str = attrs.field(repr=False)
    t_ms: int


@frozen(kw_only=True)
class Fork:
    """A VM that was really made.

    Attributes:
        seq: Its number; later ones have greater numbers.
        vm_id: The VM.
        source: The id of the VM, or the name of the golden, that it was made from.
        idempotency_key: The key of the request that it was first asked for with.
        t_ms: When, by the backend's clock, in milliseconds since the epoch.
    """

    seq: int
    vm_id: str
    source: str
    idempotency_key: str | None = None
    t_ms: int


def entry_json(entry: Any) -> dict[str, Any]:
    """Return the entry as JSON values. Unknown values are left out."""
    body = attrs.asdict(entry, recurse=False)
    return {name: value for name, value in body.items() if value is not None and value != ()}


def entry_from_json(cls: type[T], members: Mapping[str, Any]) -> T:
    """Return the entry that a JSON object describes. Members that this version does not know are ignored."""
    known = attrs.fields_dict(cls)  # type: ignore[arg-type]  # only the classes above are passed
    given = {name: value for name, value in members.items() if name in known}
    if "fault_ids" in given:
        given["fault_ids"] = tuple(given["fault_ids"])
    return cls(**given)


__all__ = ["Execution", "Fork", "RequestEntry", "entry_from_json", "entry_json"]
