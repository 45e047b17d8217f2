"""When to try again, and after how long: pure functions of what happened (contract, section 3)."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, fields, frozen

from arker.errors import ApiError, InvalidArgumentError
from arker.models import _checks as check

MAX_RETRY_AFTER: Final = 60.0
"""Seconds; a server that asks for more gets no further attempt."""

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
"""Answers that stay the same until the account is changed, whatever their status."""
_THROTTLED: Final = ("throttle", "SlowDown", "ThrottlingException")
_RETRIED_INTERNAL: Final = ("503", "Service Unavailable", *_THROTTLED)


@frozen(kw_only=True)
class RetryPolicy:
    """How often and how fast to try again.

    The delay before attempt n+2 is ``min(max_delay, base_delay * 2**n)`` plus a random 0 to ``jitter``; the server's
    ``Retry-After``, up to 60 s, takes its place.

    Attributes:
        attempts: Attempts in all; 1 is no retry.
        base_delay: Seconds.
        max_delay: Seconds.
        jitter: Seconds.
    """

    attempts: int = field(default=4, validator=check.integer(1))
    base_delay: float = field(default=0.2, validator=check.duration)
    max_delay: float = field(default=2.0, validator=check.duration)
    jitter: float = field(default=0.05, validator=check.duration)

    def delay(self, failures: int, random: float) -> float:
        """Seconds to wait after so many failed attempts; ``random`` is from 0 to 1."""
        # Beyond 2**60 any delay is at its maximum, and a float would overflow.
        return min(self.max_delay, self.base_delay * 2.0 ** min(failures - 1, 60)) + self.jitter * random

    @classmethod
    def of(cls, value: RetryPolicy | Mapping[str, Any] | bool | None) -> RetryPolicy:
        """The policy that a caller means: None or True for the default one, False for a single attempt."""
        if value is None or value is True:
            return cls()
        if value is False:
            return cls(attempts=1)
        if isinstance(value, RetryPolicy):
            return value
        names = [attribute.name for attribute in fields(cls)]
        if not isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("retry", value, "expected a RetryPolicy, a mapping with its fields, or False")
        return cls(**check.only_keys("retry", value, names))


class Failure(enum.Enum):
    """How an attempt failed."""

    NOT_SENT = "not sent"
    """Nothing reached the server."""
    LOST = "lost"
    """The request may have been processed; no answer came."""
    BUSY = "busy"
    """The server answered that the same request may succeed later, and has not processed it."""
    UNCERTAIN = "uncertain"
    """An answer says that the same request may succeed later, but not that it was not processed."""
    REFUSED = "refused"
    """The server answered, and would answer the same again."""


def is_retryable_answer(status: int, code: str, message: str) -> bool:
    """Whether an error answer is one that section 3 of the contract calls retryable."""
    return code not in _FINAL_CODES and (
        status in RETRIED_STATUSES
        or code in _RETRIED_CODES
        or (code == "internal" and any(mark in message for mark in _RETRIED_INTERNAL))
    )


def is_overload(status: int, code: str, message: str) -> bool:
    """Whether an error answer says that the server is asked too much."""
    return code not in _FINAL_CODES and (
        status == 429
        or code in ("resource_pressure", "rate_limited")
        or (code == "internal" and any(mark in message for mark in _THROTTLED))
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
    """Whether a code is one of the errors that servers of any generation know."""
    return code in _STATUS_OF_CODE or code in _OTHER_CODES


_SAY_NOTHING: Final = (408, 425, 499)
"""Statuses that a proxy invents when its own patience ends."""


def is_proof_of_refusal(error: ApiError) -> bool:
    """Whether an answer proves that what was asked for has not been done."""
    if error.work is not None:
        return error.work == "not_started"
    if not error.from_service:
        return False
    status = error.status if error.status >= 400 else _STATUS_OF_CODE.get(error.code, 0)
    return status == 503 or (400 <= status < 500 and status not in _SAY_NOTHING)


def next_delay(
    policy: RetryPolicy,
    failure: Failure,
    *,
    failures: int,
    may_repeat_lost: bool,
    retry_after: float | None,
    random: float,
) -> float | None:
    """Seconds to wait before the next attempt, or None to give up.

    Args:
        policy: The policy.
        failure: How the last attempt failed.
        failures: How many have failed, the last one included.
        may_repeat_lost: Whether the request may be sent again although it may have been processed.
        retry_after: What the server asked for, in seconds.
        random: From 0 to 1.
    """
    if failures >= policy.attempts or failure is Failure.REFUSED:
        return None
    if failure in (Failure.LOST, Failure.UNCERTAIN) and not may_repeat_lost:
        return None
    if retry_after is not None:
        return retry_after if retry_after <= MAX_RETRY_AFTER else None
    return policy.delay(failures, random)


def parse_retry_after(value: str | None, now: float, sent: str | None = None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, as a number or an HTTP date; None if it says nothing usable.

    Args:
        value: The header.
        now: The time here, in seconds since the epoch.
        sent: The reply's ``Date``, which a date counts from where there is one: clocks differ, and tests set them.
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
    """An HTTP date in seconds since the epoch."""
    # Its reader takes long to import, and dates are rare.
    from datetime import timezone
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(date.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.timestamp()
    except (ValueError, TypeError, OverflowError):  # a year or a zone that no calendar has
        return None
