"""Errors that a server has answered, and which of them an answer is."""

from __future__ import annotations

from typing import Any

from arker.errors.base import (
    ArkerError,
)


class ApiError(ArkerError):
    """The server answered with an error. Codes without a class of their own are raised as this one.

    Attributes:
        from_service: Whether the service itself said so, in the contract's words; otherwise it may have been a proxy
            before it, which does not know whether the operation took place.
        details: What else the server said of it, as it came.
        work: What the server says of the work that was asked for (``not_started``, ``stopped``, ``continuing``,
            ``unknown``), if it does.
    """

    from_service: bool = False
    work: str | None = None

    def __init__(self, message: str, **context: Any) -> None:
        super().__init__(message, **context)
        self.details: dict[str, Any] = {}


class BadRequestError(ApiError):
    """The server refused the request's content (``bad_request``)."""

    default_code = "bad_request"


class BadCursorError(BadRequestError):
    """A list that was gone through cannot be gone on with: the server refuses the cursor that it gave itself.

    To go on, begin at ``resume_cursor`` (None is the beginning of the list), and leave out the first ``items_of_page``.

    Attributes:
        resume_cursor: The cursor of the last page that came.
        items_given: Items that were handed out, in all.
        items_of_page: Those of them that were on that page.
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
        """The error that says more than a plain refusal does."""
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
    """The VM in which a command was running has gone: deleted by somebody, or lost.

    Attributes:
        stdout: What had been read of the command's standard output by then, as bytes.
        stderr: The same of standard error.
    """

    def __init__(self, message: str, *, stdout: bytes = b"", stderr: bytes = b"", **context: Any) -> None:
        facts: dict[str, Any] = {"status": 404, "outcome": "unknown", **context}
        super().__init__(message, **facts)
        self.stdout = stdout
        self.stderr = stderr


class ConflictError(ApiError):
    """The request contradicts what is there: a name or path taken, a key used for another request (``conflict``)."""

    default_code = "conflict"


class PayloadTooLargeError(ApiError):
    """One request held more than the server takes (``payload_too_large``)."""

    default_code = "payload_too_large"


class UnsupportedOperationError(ApiError):
    """This server, image or VM cannot do this (``unsupported_operation``)."""

    default_code = "unsupported_operation"


class RateLimitedError(ApiError):
    """Too many requests (HTTP 429, whatever the code); ``retry_after`` says how long to wait, if the server did."""

    default_code = "rate_limited"


class OperationNotImplementedError(ApiError):
    """The server does not know this operation (``not_implemented``)."""

    default_code = "not_implemented"


class ResourcePressureError(ApiError):
    """The service lacks the resources at the moment (``resource_pressure``)."""

    default_code = "resource_pressure"


class UnavailableError(ApiError):
    """The service is unavailable at the moment (``unavailable`` and its kin)."""

    default_code = "unavailable"


class InternalError(ApiError):
    """The server failed (``internal``)."""

    default_code = "internal"


class BadReplyError(InternalError):
    """The reply is not what the contract says.

    Attributes:
        path: Where in the payload, such as ``$.vms[3].sessions[0].cwd``; ``$`` is the whole of it.
        is_json: Whether it is JSON at all; a page of HTML comes from a proxy.
        stdout: What had been read by then of the standard output of a run that was followed, as bytes.
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
    """Whether an error says that what was asked for is not there (any more), whatever the HTTP status was."""
    return isinstance(error, NotFoundError)


def is_surely_gone(error: BaseException) -> bool:
    """Whether the service itself says so; a page that says "not found" may be a proxy's, and proves nothing."""
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
    """The class for an answer: by its code, and by its HTTP status when the code is unknown."""
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
