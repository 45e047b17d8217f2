"""When to try again, and after how long: the pure half of section 3 of the contract."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arker import InvalidArgumentError, RetryPolicy
from arker._protocol.retryable import is_retryable_answer, parse_retry_after
from arker._transport.retry import Failure, next_delay
from tests.support.length import times


def test_the_default_policy() -> None:
    policy = RetryPolicy()
    assert (policy.attempts, policy.base_delay, policy.max_delay, policy.jitter) == (4, 0.2, 2.0, 0.05)


@pytest.mark.parametrize(
    ("failures", "random", "expected"),
    [(1, 0.0, 0.2), (1, 1.0, 0.25), (2, 0.0, 0.4), (3, 0.0, 0.8), (4, 0.0, 1.6), (5, 0.0, 2.0), (5, 0.5, 2.025)],
)
def test_delays_double_up_to_their_maximum(failures: int, random: float, expected: float) -> None:
    assert math.isclose(RetryPolicy(attempts=9).delay(failures, random), expected)


@given(failures=st.integers(1, 10_000), random=st.floats(0, 1))
def test_a_delay_is_never_beyond_its_bounds(failures: int, random: float) -> None:
    policy = RetryPolicy()
    assert policy.base_delay <= policy.delay(failures, random) <= policy.max_delay + policy.jitter


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, RetryPolicy()),
        (True, RetryPolicy()),
        (False, RetryPolicy(attempts=1)),
        (RetryPolicy(attempts=7), RetryPolicy(attempts=7)),
        ({}, RetryPolicy()),
        ({"attempts": 2, "base_delay": 0.5}, RetryPolicy(attempts=2, base_delay=0.5)),
    ],
)
def test_what_a_caller_may_mean(value: Any, expected: RetryPolicy) -> None:
    assert RetryPolicy.of(value) == expected


@pytest.mark.parametrize(
    ("value", "argument"),
    [
        (3, "retry"),
        ("on", "retry"),
        ({"tries": 3}, "retry['tries']"),
        ({"attempts": 0}, "attempts"),
        ({"attempts": True}, "attempts"),
        ({"attempts": 2.0}, "attempts"),
        ({"base_delay": -0.1}, "base_delay"),
        ({"max_delay": math.inf}, "max_delay"),
        ({"jitter": "0.1"}, "jitter"),
        ({"jitter": math.nan}, "jitter"),
    ],
)
def test_what_no_caller_may_mean(value: Any, argument: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        RetryPolicy.of(value)
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        *((status, "whatever", "m", True) for status in (429, 502, 503, 504)),
        *((status, "whatever", "m", False) for status in (200, 400, 401, 403, 404, 408, 409, 413, 422, 500, 501, 505)),
        *((400, code, "m", True) for code in ("routing_unavailable", "unavailable", "temporarily_unavailable")),
        *((200, code, "m", False) for code in ("resource_pressure", "not_implemented", "conflict", "Unavailable")),
        (500, "internal", "upstream said 503", True),
        (500, "internal", "Service Unavailable", True),
        (200, "internal", "we throttle you", True),
        (500, "internal", "SlowDown, please", True),
        (500, "internal", "ThrottlingException: rate", True),
        (500, "internal", "service unavailable", False),
        (500, "internal", "502", False),
        (500, "bad_request", "503", False),
    ],
)
def test_retryable_answers(status: int, code: str, message: str, expected: bool) -> None:
    assert is_retryable_answer(status, code, message) is expected


POLICY = RetryPolicy(base_delay=1, max_delay=8, jitter=0)


@pytest.mark.parametrize(
    ("failure", "failures", "may_repeat_lost", "retry_after", "expected"),
    [
        (Failure.BUSY, 1, False, None, 1.0),
        (Failure.BUSY, 3, True, None, 4.0),
        (Failure.BUSY, 4, True, None, None),
        (Failure.NOT_SENT, 1, False, None, 1.0),
        (Failure.NOT_SENT, 4, True, None, None),
        (Failure.LOST, 1, True, None, 1.0),
        (Failure.LOST, 1, False, None, None),
        (Failure.REFUSED, 1, True, None, None),
        (Failure.REFUSED, 1, True, 0.0, None),
        (Failure.BUSY, 1, False, 0.0, 0.0),
        (Failure.BUSY, 1, False, 7.5, 7.5),
        (Failure.BUSY, 1, False, 60.0, 60.0),
        (Failure.BUSY, 1, False, 60.001, None),
        (Failure.BUSY, 4, False, 1.0, None),
    ],
)
def test_next_delay(
    failure: Failure, failures: int, may_repeat_lost: bool, retry_after: float | None, expected: float | None
) -> None:
    delay = next_delay(
        POLICY, failure, failures=failures, may_repeat_lost=may_repeat_lost, retry_after=retry_after, random=0.0
    )
    assert delay == expected


@pytest.mark.parametrize(
    ("failures", "retry_after", "patience", "expected"),
    [
        (1, None, 600.0, 1.0),
        (9, None, 600.0, 8.0),
        (1, 2.5, 600.0, 2.5),
        (9, 2.5, 600.0, 2.5),
        (1, 90.0, 600.0, 90.0),
        (1, 90.0, 60.0, None),
        # Without a number of attempts, "at once" would be a storm.
        (1, 0.0, 600.0, 1.0),
        (3, 0.0, 600.0, 4.0),
        (9, 0.01, 600.0, 8.0),
        (9, 0.0, 5.0, None),
    ],
)
def test_next_delay_within_a_time(
    failures: int, retry_after: float | None, patience: float, expected: float | None
) -> None:
    delay = next_delay(
        POLICY,
        Failure.BUSY,
        failures=failures,
        may_repeat_lost=False,
        retry_after=retry_after,
        random=0.0,
        patience=patience,
    )
    assert delay == expected


def test_a_single_attempt_is_never_repeated() -> None:
    for failure in Failure:
        once = RetryPolicy(attempts=1)
        assert next_delay(once, failure, failures=1, may_repeat_lost=True, retry_after=None, random=0) is None


NOW = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("5", 5.0),
        (" 2.5 ", 2.5),
        ("120", 120.0),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("Thu, 01 Jan 2026 00:00:10 GMT", 10.0),
        ("Thu, 01 Jan 2026 00:00:10 -0000", 10.0),
        ("Thu, 01 Jan 2026 01:00:10 +0100", 10.0),
        ("Wed, 31 Dec 2025 23:59:59 GMT", 0.0),
        ("Thu, 99 Jan 2026 00:00:10 GMT", None),
        ("2026-01-01T00:00:10Z", None),
    ],
)
def test_retry_after(value: str | None, expected: float | None) -> None:
    assert parse_retry_after(value, NOW) == expected


@settings(max_examples=times(100, suite=30))
@given(st.text(max_size=60))
def test_no_retry_after_does_harm(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds < math.inf


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001 - zone added below
def test_every_date_is_understood(moment: datetime) -> None:
    aware = moment.replace(microsecond=0, tzinfo=timezone.utc)
    seconds = parse_retry_after(format_datetime(aware, usegmt=True), NOW)
    assert seconds == max(0.0, aware.timestamp() - NOW)
