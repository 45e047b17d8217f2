"""The choice of the error class for a server's reply."""

from __future__ import annotations

from arker.errors.api import (
    ActionRequiredError,
    AlreadyExistsError,
    ApiError,
    BadRequestError,
    CapacityUnavailableError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    GatewayTimeoutError,
    IdempotencyConflictError,
    InsufficientResourcesError,
    InternalError,
    InvalidStateError,
    MethodNotAllowedError,
    NotFoundError,
    OperationFailedError,
    OperationNotImplementedError,
    PayloadTooLargeError,
    PaymentRequiredError,
    QuotaExceededError,
    RateLimitedError,
    ResourceBusyError,
    ResourcePressureError,
    UnauthorizedError,
    UnavailableError,
    UnrecoverableError,
    UnsupportedOperationError,
)

_BY_CODE: dict[str, type[ApiError]] = {
    **{
        cls.default_code: cls
        for cls in (
            BadRequestError,
            InsufficientResourcesError,
            UnauthorizedError,
            PaymentRequiredError,
            ForbiddenError,
            ActionRequiredError,
            NotFoundError,
            ExpiredError,
            ConflictError,
            AlreadyExistsError,
            ResourceBusyError,
            InvalidStateError,
            IdempotencyConflictError,
            PayloadTooLargeError,
            UnsupportedOperationError,
            UnrecoverableError,
            OperationFailedError,
            RateLimitedError,
            QuotaExceededError,
            OperationNotImplementedError,
            MethodNotAllowedError,
            ResourcePressureError,
            UnavailableError,
            CapacityUnavailableError,
            GatewayTimeoutError,
            InternalError,
        )
    },
    "routing_unavailable": UnavailableError,
    "temporarily_unavailable": UnavailableError,
}


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    402: PaymentRequiredError,
    403: ForbiddenError,
    404: NotFoundError,
    405: MethodNotAllowedError,
    409: ConflictError,
    410: ExpiredError,
    413: PayloadTooLargeError,
    501: OperationNotImplementedError,
    502: UnavailableError,
    503: UnavailableError,
    504: GatewayTimeoutError,
}


def api_error_class(code: str, status: int) -> type[ApiError]:
    """Return the error class for a reply: by its code, or by its HTTP status if the code is unknown."""
    if status == 429:
        return QuotaExceededError if code == "quota_exceeded" else RateLimitedError
    return _BY_CODE.get(code) or _BY_STATUS.get(status, ApiError)


__all__ = ["api_error_class"]
