"""Hooks: functions that the client calls with events, for metrics, traces and progress bars.

    hooks = Hooks(on_retry=lambda event: print(event.operation, event.error))
    async with AsyncArker(region="us-west-2", hooks=hooks) as ar:
        ...

Each hook is called with one frozen event, on the event loop, with the context variables of the operation (such as the
current span of a tracer). It must return quickly, because it blocks the event loop. An exception in a hook does not
affect the operation: the first one of each hook is logged as a warning. Only `SystemExit` and `KeyboardInterrupt` end
the program, and its blocks clean up; while they do, further ones are ignored. No event contains the API key or the
query of a presigned URL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from attrs import field, frozen

import arker
from arker.errors import ArkerError
from arker.models import _checks as check


@frozen(kw_only=True)
class RequestEvent:
    """The end of one attempt.

    Attributes:
        operation: Name of the operation, such as ``"vm.run"``. An operation with several requests causes several
            events.
        method: HTTP method.
        url: URL of the request, without the query.
        attempt: Number of the attempt within the operation, from 1.
        started: Start time, in seconds since the epoch.
        seconds: Duration in seconds, until the reply was read.
        status: HTTP status of the reply; None when none arrived.
        error: The attempt's error; None if it succeeded.
        cancelled: Whether the attempt ended before a reply, by a deadline or by a cancellation of the caller.
        request_id: The server's ``x-request-id``; None if it sent none.
        idempotency_key: The request's idempotency key; None if it had none.
        bytes_sent: Size of the request's body.
        bytes_received: Size of the reply's body; 0 when none arrived.
    """

    operation: str
    method: str
    url: str
    attempt: int
    started: float
    seconds: float
    status: int | None
    error: ArkerError | None
    cancelled: bool
    request_id: str | None
    idempotency_key: str | None
    bytes_sent: int
    bytes_received: int


@frozen(kw_only=True)
class RetryEvent:
    """The wait before a retry of a request.

    Attributes:
        operation: Name of the operation.
        attempt: Number of the attempt that failed, from 1.
        delay: Seconds until the next attempt.
        error: The error of the failed attempt.
    """

    operation: str
    attempt: int
    delay: float
    error: ArkerError


@frozen(kw_only=True)
class TransferEvent:
    """The progress of a file transfer by a presigned URL: at the start, about every MiB, and at the end.

    Attributes:
        operation: Name of the operation.
        vm_id: The VM's id.
        path: The file's path in the VM.
        direction: ``"upload"`` or ``"download"``.
        done: Bytes transferred so far; 0 at the start and at every restart, ``total`` after success. For a file in
            parts it is the sum of all parts, and decreases when a part restarts.
        total: Size of the file, in bytes.
    """

    operation: str
    vm_id: str
    path: str
    direction: arker.transfer.Direction
    done: int
    total: int


def _check_hook(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    check.check_function(attribute.name, value)


@frozen(kw_only=True)
class Hooks:
    """The hooks of a client: ``AsyncArker(hooks=Hooks(on_request=…))``.

    Attributes:
        on_request: Called after each attempt.
        on_retry: Called before each wait for another attempt.
        on_transfer: Called during transfers by presigned URLs. During an upload the caller is a task of the HTTP
            library that has the operation's context variables.

    Raises:
        InvalidArgumentError: A hook is not callable or is a coroutine function.
    """

    on_request: Callable[[RequestEvent], object] | None = field(default=None, validator=_check_hook)
    on_retry: Callable[[RetryEvent], object] | None = field(default=None, validator=_check_hook)
    on_transfer: Callable[[TransferEvent], object] | None = field(default=None, validator=_check_hook)


__all__ = ["Hooks", "RequestEvent", "RetryEvent", "TransferEvent"]
