"""Errors for a server's replies, and the choice of the class for a reply."""

from __future__ import annotations

from typing import Any

from arker.errors.base import (
    ArkerError,
)


class ApiError(ArkerError):
    """The server replied with an error. This class is raised for codes without a class of their own.

    Attributes:
        from_service: Whether the reply is from the service itself, in the contract's format; otherwise it may be from a
            proxy, which does not know whether the operation was executed.
        from_store: Whether the reply is from the object store behind a presigned URL.
        details: Further details from the server, unchanged.
        work: The state of the requested work according to the server (``not_started``, ``stopped``, ``continuing``,
            ``unknown``), if it is given.
    """

    from_service: bool = False
    from_store: bool = False
    work: str | None = None

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
        for name in ("code", "status", "operation", "request_id", "attempts", "outcome", "vm_id", "run_id"):
            setattr(raised, name, getattr(error, name))
        return raised


class UnauthorizedError(ApiError):
    """The API key is missing, wrong or expired (``unauthorized``)."""

    default_code = "unauthorized"


class ForbiddenError(ApiError):
    """The API key does not allow this (``forbidden``)."""

    default_code = "forbidden"


class NotFoundError(ApiError):
    """There is no such VM, run, file or other object (``not_found``)."""

    default_code = "not_found"


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


class PayloadTooLargeError(ApiError):
    """The request is larger than the server accepts (``payload_too_large``)."""

    default_code = "payload_too_large"


class UnsupportedOperationError(ApiError):
    """This server, image or VM cannot do this (``unsupported_operation``)."""

    default_code = "unsupported_operation"


class RateLimitedError(ApiError):
    """There were too many requests (HTTP 429 with any code). ``retry_after`` is the time to wait, if it is known."""

    default_code = "rate_limited"


class OperationNotImplementedError(ApiError):
    """The server does not know this operation (``not_implemented``)."""

    default_code = "not_implemented"


class ResourcePressureError(ApiError):
    """The service currently lacks the resources (``resource_pressure``)."""

    default_code = "resource_pressure"


class UnavailableError(ApiError):
    """The service is currently unavailable (``unavailable`` and similar codes)."""

    default_code = "unavailable"


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


_BY_CODE: dict[str, type[ApiError]] = {
    "bad_request": BadRequestError,
    "unauthorized": UnauthorizedError,
    "forbidden": ForbiddenError,
    "not_found": NotFoundError,
    "conflict": ConflictError,
    "payload_too_large": PayloadTooLargeError,
    "unsupported_operation": UnsupportedOperationError,
    "not_implemented": OperationNotImplementedError,
    "resource_pressure": ResourcePressureError,
    "unavailable": UnavailableError,
    "routing_unavailable": UnavailableError,
    "temporarily_unavailable": UnavailableError,
    "internal": InternalError,
}


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    413: PayloadTooLargeError,
    501: OperationNotImplementedError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def api_error_class(code: str, status: int) -> type[ApiError]:
    """Return the error class for a reply: by its code, or by its HTTP status if the code is unknown."""
    if status == 429:
        return RateLimitedError
    return _BY_CODE.get(code) or _BY_STATUS.get(status, ApiError)


__all__ = [
    "ApiError",
    "BadCursorError",
    "BadReplyError",
    "BadRequestError",
    "ConflictError",
    "ForbiddenError",
    "InternalError",
    "NotFoundError",
    "OperationNotImplementedError",
    "PayloadTooLargeError",
    "RateLimitedError",
    "ResourcePressureError",
    "UnauthorizedError",
    "UnavailableError",
    "UnsupportedOperationError",
    "VMGoneError",
    "api_error_class",
    "is_gone",
    "is_surely_gone",
]
