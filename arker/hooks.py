"""Hooks: functions of the caller's that are told what the client does, for metrics, traces and progress bars.

    hooks = Hooks(on_retry=lambda event: print(event.operation, event.error))
    async with AsyncArker(region="us-west-2", hooks=hooks) as ar:
        ...

Each is called with one frozen event, on the event loop, with the context variables of the operation (such as the
current span of a tracer), and must return soon, since everything waits for it. One that raises breaks nothing: the
first error of each is logged as a warning. No event holds the API key or the query of a presigned URL.
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
    """One attempt, when it has ended.

    Attributes:
        operation: Name of the operation, such as ``"vm.run"``. One of several requests gives several events.
        method: HTTP method.
        url: Where it went, without the query.
        attempt: Its number within the operation, from 1.
        started: When it began, in seconds since the epoch.
        seconds: How long it took, until the reply was read.
        status: HTTP status of the reply; None when none arrived.
        error: What it failed with; None when it did not.
        cancelled: Whether it was given up before a reply came: by a deadline, or because the caller was cancelled.
        request_id: The server's ``x-request-id``, if it sent one.
        idempotency_key: The key that the request carried, if any.
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
    """A request is about to be sent again.

    Attributes:
        operation: Name of the operation.
        attempt: Number of the attempt that failed, from 1.
        delay: Seconds that the client waits before the next one.
        error: What the attempt failed with.
    """

    operation: str
    attempt: int
    delay: float
    error: ArkerError


@frozen(kw_only=True)
class TransferEvent:
    """A file on its way by a presigned URL: at the beginning, about every MiB, and at the end.

    Attributes:
        operation: Name of the operation.
        vm_id: The VM's id.
        path: The file's path in the VM.
        direction: ``"upload"`` or ``"download"``.
        done: Bytes so far; 0 at the beginning and whenever the transfer begins anew, ``total`` when it has succeeded.
            Of a file in parts, of all of them together: fewer again when one begins anew.
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
    """What is to be told to whom: ``AsyncArker(hooks=Hooks(on_request=…))``.

    Attributes:
        on_request: Called after each attempt.
        on_retry: Called before each wait for another attempt.
        on_transfer: Called as files go by presigned URLs. During an upload it is called from a task of the HTTP library
            that has the operation's context variables.

    Raises:
        InvalidArgumentError: One of them is not a function, or is a coroutine function.
    """

    on_request: Callable[[RequestEvent], object] | None = field(default=None, validator=_check_hook)
    on_retry: Callable[[RetryEvent], object] | None = field(default=None, validator=_check_hook)
    on_transfer: Callable[[TransferEvent], object] | None = field(default=None, validator=_check_hook)


__all__ = ["Hooks", "RequestEvent", "RetryEvent", "TransferEvent"]
