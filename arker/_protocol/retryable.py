"""The meaning of an error for a retry: which errors are temporary, and which prove that nothing was done."""

from __future__ import annotations

import re
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Final

from arker.errors import ApiError

RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})
_RETRIED_CODES: Final = frozenset(
    {
        "capacity_unavailable",
        "gateway_timeout",
        "rate_limited",
        "routing_unavailable",
        "temporarily_unavailable",
        "unavailable",
    }
)
_FINAL_CODES: Final = frozenset({"action_required", "payment_required", "quota_exceeded"})
"""Codes whose answers stay the same until the account changes, whatever their status."""
_THROTTLED: Final = ("throttle", "SlowDown", "ThrottlingException")
_RETRIED_INTERNAL: Final = ("503", "Service Unavailable", *_THROTTLED)


def is_retryable_answer(status: int, code: str, message: str) -> bool:
    """Return whether section 3 of the contract calls an error answer retryable."""
    return code not in _FINAL_CODES and (
        status in RETRIED_STATUSES
        or code in _RETRIED_CODES
        or (code == "internal" and any(mark in message for mark in _RETRIED_INTERNAL))
    )


def is_overload(status: int, code: str, message: str, *, from_service: bool) -> bool:
    """Return whether an error answer reports overload.

    What a proxy's own page says, it says of the proxy: its words tell nothing of the load of the service.
    """
    if code in _FINAL_CODES:
        return False
    return status == 429 or (
        from_service
        and (
            code in ("resource_pressure", "rate_limited")
            or (code == "internal" and any(mark in message for mark in _THROTTLED))
        )
    )


_STATUS_OF_CODE: Final = {
    "bad_request": 400,
    "insufficient_resources": 400,
    "unauthorized": 401,
    "payment_required": 402,
    "forbidden": 403,
    "action_required": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "already_exists": 409,
    "idempotency_conflict": 409,
    "invalid_state": 409,
    "resource_busy": 409,
    "expired": 410,
    "payload_too_large": 413,
    "unsupported_operation": 422,
    "operation_failed": 422,
    "unrecoverable": 422,
    "rate_limited": 429,
    "quota_exceeded": 429,
    "unavailable": 503,
    "routing_unavailable": 503,
    "temporarily_unavailable": 503,
    "capacity_unavailable": 503,
    "resource_pressure": 503,
}
"""The HTTP status of each code that says that nothing was done (contract, section 3); an error is one at any status."""
_OTHER_CODES: Final = frozenset({"gateway_timeout", "internal", "method_not_allowed", "not_implemented"})


def is_error_code(code: str) -> bool:
    """Return whether a code is an error of servers of any version."""
    return code in _STATUS_OF_CODE or code in _OTHER_CODES


_SAY_NOTHING: Final = (408, 425, 499)
"""Statuses that a proxy makes up after its own timeout."""


def is_proof_of_refusal(error: ApiError) -> bool:
    """Return whether an answer proves that the request was not carried out."""
    if error.work is not None:
        return error.work == "not_started"
    if not error.from_service:
        return False
    status = error.status if error.status >= 400 else _STATUS_OF_CODE.get(error.code, 0)
    return status == 503 or (400 <= status < 500 and status not in _SAY_NOTHING)


def parse_retry_after(value: str | None, now: float, sent: str | None = None) -> float | None:
    """Parse a ``Retry-After`` header, a number or an HTTP date, into seconds; None if it is unusable.

    Args:
        value: The header.
        now: The local time, in seconds since the epoch.
        sent: The reply's ``Date``, if any; a date is counted from it, since clocks differ, and tests set them.
    """
    if value is None:
        return None
    text = value.strip()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]*)?", text):
        return float(text)
    moment = _seconds_of(text)
    if moment is None:
        return None
    before = None if sent is None else _seconds_of(sent)
    return max(0.0, moment - (now if before is None else before))


def _seconds_of(date: str) -> float | None:
    """Return an HTTP date in seconds since the epoch."""
    try:
        moment = parsedate_to_datetime(date.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.timestamp()
    except (ValueError, TypeError, OverflowError):  # a year or a zone that no calendar has
        return None


__all__ = ["RETRIED_STATUSES", "is_overload", "is_proof_of_refusal", "is_retryable_answer", "parse_retry_after"]
