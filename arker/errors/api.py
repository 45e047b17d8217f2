"""Errors for a server's replies."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from arker.errors.base import (
    ArkerError,
)


@frozen(kw_only=True)
class Recovery:
    """What has become of the work that a failed request asked for.

    Attributes:
        work: ``not_started`` (the same request may be sent again), ``stopped``, ``continuing`` or ``unknown``; an
            unknown word is kept unchanged.
        vm_id: The VM that exists although the request failed; None if none is named.
        run_id: The run in it.
        step_index: The step of an image or of its configuration that failed, from 0.
        step_count: The number of those steps.
        completed_steps: The number of steps that were completed.
        exit_code: The exit code of the step's command.
    """

    work: str
    vm_id: str | None = None
    run_id: str | None = None
    step_index: int | None = None
    step_count: int | None = None
    completed_steps: int | None = None
    exit_code: int | None = None


class ApiError(ArkerError):
    """The server replied with an error. This class is raised for codes without a class of their own.

    Attributes:
        from_service: Whether the reply is from the service itself, in the contract's format; otherwise it may be from a
            proxy, which does not know whether the operation was executed.
        from_store: Whether the reply is from the object store behind a presigned URL.
        details: Further details from the server, unchanged. Generation 1 of the API declares their members for each
            code.
        recovery: What has become of the requested work; None if the server does not say.
        stage: The stage that failed: ``image_pull``, ``image_conversion``, ``image_configuration``, ``image_command``,
            ``dockerfile_build`` or ``restore``; None if the server does not say.
        matched: Whether the server knows the requested operation at all; None if it does not say.
    """

    from_service: bool = False
    from_store: bool = False
    recovery: Recovery | None = None
    stage: str | None = None
    matched: bool | None = None

    @property
    def work(self) -> str | None:
        """The state of the requested work according to the server; see `Recovery.work`."""
        return None if self.recovery is None else self.recovery.work

    def __init__(self, message: str, **context: Any) -> None:
        super().__init__(message, **context)
        self.details: dict[str, Any] = {}


class BadRequestError(ApiError):
    """The server rejected the request's content (``bad_request``)."""

    default_code = "bad_request"


class BadCursorError(BadRequestError):
    """An iteration over a list cannot continue: the server rejects a cursor that it returned before.

    To continue, start at ``resume_cursor`` (None is the start of the list) and skip the first ``items_of_page`` items.

    Attributes:
        resume_cursor: The cursor of the last page received.
        items_given: Total number of items returned so far.
        items_of_page: Number of items returned from that page.
    """

    def __init__(
        self,
        message: str,
        *,
        resume_cursor: str | None = None,
        items_given: int = 0,
        items_of_page: int = 0,
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.resume_cursor = resume_cursor
        self.items_given = items_given
        self.items_of_page = items_of_page

    @classmethod
    def of(
        cls, error: BadRequestError, *, resume_cursor: str | None, items_given: int, items_of_page: int
    ) -> BadCursorError:
        """Create the error from the server's rejection of a cursor."""
        begin = "its beginning" if resume_cursor is None else "resume_cursor"
        raised = cls(
            f"the list broke off after {items_given} items: {error.message}; it can be taken up again at {begin}, "
            f"whose first {items_of_page} items are known already",
            resume_cursor=resume_cursor,
            items_given=items_given,
            items_of_page=items_of_page,
        )
        raised.details = error.details
        for name in ("code", "status", "operation", "request_id", "attempts", "outcome", "vm_id", "run_id"):
            setattr(raised, name, getattr(error, name))
        return raised


class InsufficientResourcesError(BadRequestError):
    """The request asks for less CPU, memory, disk or GPU than is needed (``insufficient_resources``).

    ``details`` has the ``resource``, and what was ``requested`` and the ``minimum`` if they are known.
    """

    default_code = "insufficient_resources"


class UnauthorizedError(ApiError):
    """The API key is missing, wrong or expired (``unauthorized``)."""

    default_code = "unauthorized"


class PaymentRequiredError(ApiError):
    """The organisation has to pay first (``payment_required``). It is never retried."""

    default_code = "payment_required"


class ForbiddenError(ApiError):
    """The API key does not allow this (``forbidden``)."""

    default_code = "forbidden"


class ActionRequiredError(ForbiddenError):
    """The organisation's account needs an action of its owner first (``action_required``). It is never retried.

    ``details["action"]`` is ``accept_legal_terms``, ``convert_billing_plan`` or ``add_payment_method``.
    """

    default_code = "action_required"


class NotFoundError(ApiError):
    """There is no such VM, run, file or other object (``not_found``)."""

    default_code = "not_found"


class ExpiredError(NotFoundError):
    """The object, such as an upload, no longer exists because its time is over (``expired``)."""

    default_code = "expired"


class VMGoneError(NotFoundError):
    """The VM in which a command was running was deleted or lost.

    Attributes:
        stdout: The command's standard output read so far, as bytes.
        stderr: The same of standard error.
    """

    def __init__(self, message: str, *, stdout: bytes = b"", stderr: bytes = b"", **context: Any) -> None:
        facts: dict[str, Any] = {"status": 404, "outcome": "unknown", **context}
        super().__init__(message, **facts)
        self.stdout = stdout
        self.stderr = stderr


class ConflictError(ApiError):
    """The request conflicts with the server's state, such as by a name that is taken (``conflict``).

    It is also raised for a path that is taken and for an idempotency key that was used for another request.
    """

    default_code = "conflict"


class AlreadyExistsError(ConflictError):
    """The name or object exists already (``already_exists``); ``details["resource"]`` says of which kind."""

    default_code = "already_exists"


class ResourceBusyError(ConflictError):
    """Something else is using the VM, session or other object now (``resource_busy``)."""

    default_code = "resource_busy"


class InvalidStateError(ConflictError):
    """The object is in a state that does not allow this (``invalid_state``).

    ``details["requirement"]`` is the state that it would have to be in: ``running``, ``mutable``, ``unclaimed``,
    ``uncommitted`` or ``not_deleting``.
    """

    default_code = "invalid_state"


class IdempotencyConflictError(ConflictError):
    """The idempotency key was used for a different request (``idempotency_conflict``)."""

    default_code = "idempotency_conflict"


class PayloadTooLargeError(ApiError):
    """The request is larger than the server accepts (``payload_too_large``)."""

    default_code = "payload_too_large"


class UnsupportedOperationError(ApiError):
    """This server, image or VM cannot do this (``unsupported_operation``).

    It is also raised for what the server's generation of the API does not have; the message then names the generation
    and the way to do it instead, and ``status`` is 0 if nothing was sent.
    """

    default_code = "unsupported_operation"


class UnrecoverableError(ApiError):
    """The state of the VM or other object is lost for good (``unrecoverable``)."""

    default_code = "unrecoverable"


class OperationFailedError(ApiError):
    """The work was done, and failed (``operation_failed``).

    ``details["reason"]`` is ``image_pull_failed``, ``image_conversion_failed``, ``command_failed``,
    ``unexpected_interpreter`` or ``deadline_exceeded``; ``stage`` and ``recovery`` say more.
    """

    default_code = "operation_failed"


class RateLimitedError(ApiError):
    """There were too many requests (HTTP 429 with any code). ``retry_after`` is the time to wait, if it is known."""

    default_code = "rate_limited"


class QuotaExceededError(RateLimitedError):
    """A limit of the VM, the region or the organisation is reached (``quota_exceeded``). It is never retried.

    ``details`` has the ``limit``, its ``scope``, and the ``measurements``.
    """

    default_code = "quota_exceeded"


class OperationNotImplementedError(ApiError):
    """The server does not know this operation (``not_implemented``)."""

    default_code = "not_implemented"


class MethodNotAllowedError(OperationNotImplementedError):
    """The server has this path, but not this operation on it (``method_not_allowed``)."""

    default_code = "method_not_allowed"


class ResourcePressureError(ApiError):
    """The service currently lacks the resources (``resource_pressure``)."""

    default_code = "resource_pressure"


class UnavailableError(ApiError):
    """The service is currently unavailable (``unavailable`` and similar codes)."""

    default_code = "unavailable"


class CapacityUnavailableError(ResourcePressureError, UnavailableError):
    """A worker, region or platform has no capacity left at the moment (``capacity_unavailable``)."""

    default_code = "capacity_unavailable"


class GatewayTimeoutError(UnavailableError):
    """The service did not answer its own gateway in time (``gateway_timeout``); the work may have been done."""

    default_code = "gateway_timeout"


class InternalError(ApiError):
    """The server failed (``internal``)."""

    default_code = "internal"


class BadReplyError(InternalError):
    """The reply violates the contract.

    Attributes:
        path: Place in the payload, such as ``$.vms[3].sessions[0].cwd``; ``$`` is the whole payload.
        is_json: Whether the payload is JSON; an HTML page comes from a proxy.
        stdout: Standard output read so far from a run that was followed, as bytes.
        stderr: The same of standard error.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str = "$",
        is_json: bool = True,
        stdout: bytes = b"",
        stderr: bytes = b"",
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.path = path
        self.is_json = is_json
        self.stdout = stdout
        self.stderr = stderr


def is_gone(error: BaseException) -> bool:
    """Return whether an error means that the requested object does not exist (any more), with any HTTP status."""
    return isinstance(error, NotFoundError)


def is_surely_gone(error: BaseException) -> bool:
    """Return whether the service itself reports a missing object. A proxy's "not found" page proves nothing."""
    return isinstance(error, NotFoundError) and error.from_service


__all__ = [
    "ActionRequiredError",
    "AlreadyExistsError",
    "ApiError",
    "BadCursorError",
    "BadReplyError",
    "BadRequestError",
    "CapacityUnavailableError",
    "ConflictError",
    "ExpiredError",
    "ForbiddenError",
    "GatewayTimeoutError",
    "IdempotencyConflictError",
    "InsufficientResourcesError",
    "InternalError",
    "InvalidStateError",
    "MethodNotAllowedError",
    "NotFoundError",
    "OperationFailedError",
    "OperationNotImplementedError",
    "PayloadTooLargeError",
    "PaymentRequiredError",
    "QuotaExceededError",
    "RateLimitedError",
    "Recovery",
    "ResourceBusyError",
    "ResourcePressureError",
    "UnauthorizedError",
    "UnavailableError",
    "UnrecoverableError",
    "UnsupportedOperationError",
    "VMGoneError",
    "is_gone",
    "is_surely_gone",
]
