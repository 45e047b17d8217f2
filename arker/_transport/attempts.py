"""One request and how often it is tried: what is known of it meanwhile, and what a failure means. It sends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
from attrs import define, field

from arker._protocol.request import ExchangeFailedError, Request, Response, without_query
from arker._protocol.retryable import is_overload, is_proof_of_refusal, is_retryable_answer
from arker._transport.retry import Failure
from arker.errors import (
    ApiError,
    ArkerError,
    BadReplyError,
    DeadlineExceededError,
    NetworkError,
    NetworkTimeoutError,
    Outcome,
)
from arker.models import _checks as check

if TYPE_CHECKING:
    from arker._transport.limiter import Limiter, Unlimited

E = TypeVar("E", bound=ArkerError)

HELD_WELL: Final = 10.0
"""Seconds; a connection that was lost after as long as this is no sign of a network that does not work."""


@define
class Progress:
    """What is known of an operation while it goes on; an operation of several requests shares one.

    Attributes:
        operation: Its name.
        attempts: Requests that were tried.
        outcome: Whether it may have had an effect.
        in_flight: Whether a request that changes something is on its way.
        idempotency_key: The key of the last request, if it had one.
        abandoned: Whether the caller has gone, so that what had no effect is not tried again.
        makes: Whether it makes what has to be removed again, such as a VM, and whose id only its answer tells.
        last: The error of the last attempt.
        vm_id: The VM that it is about.
        run_id: The run that it is about.
        redact: Takes secrets out of a text.
    """

    operation: str
    attempts: int = 0
    outcome: Outcome = "not_started"
    in_flight: bool = False
    idempotency_key: str | None = None
    abandoned: bool = False
    makes: bool = False
    last: ArkerError | None = field(default=None, repr=False)
    vm_id: str | None = None
    run_id: str | None = None
    redact: Callable[[str], str] = field(default=str, repr=False)

    @property
    def may_have_begun(self) -> bool:
        """Whether the operation may have had an effect already."""
        return self.in_flight or self.outcome != "not_started"

    def complete(self, error: E) -> E:
        """Write onto an error what is known, and return it."""
        error.operation = self.operation
        error.attempts = self.attempts
        error.outcome = self.outcome
        error.idempotency_key = self.idempotency_key
        # What has been found out otherwise stays: a run that was started has an id that no request names.
        if self.vm_id is not None and error.vm_id is None:
            error.vm_id = self.redact(self.vm_id)
        if self.run_id is not None and error.run_id is None:
            error.run_id = self.redact(self.run_id)
        return error


@define(eq=False)
class Attempt:
    """How one kind of request is tried.

    Attributes:
        method: HTTP method.
        changes_something: Whether it has an effect on the server.
        may_repeat_lost: Whether it may be sent again after it was perhaps processed.
        request: The request to the API, if it is one.
        presigned_url: Where it goes, if not to the API.
        label: What stands in the log for its path, if it does not go to the API.
        sent: Size of the body that is sent.
        response: What came, once it has come.
        advanced: Whether the last try, although it failed, got on with what the next one goes on with.
        task: The task that it is in.
        asked_to_end: How often that had been cancelled before.
        closed: Whether that was cancelled because the client is being closed.
    """

    method: str
    changes_something: bool
    may_repeat_lost: bool
    request: Request | None = None
    presigned_url: str = field(default="", repr=False)
    label: str = "(presigned)"
    sent: int = 0
    response: Response | None = field(default=None, repr=False)
    advanced: bool = False
    task: asyncio.Task[Any] | None = field(default=None, repr=False)
    asked_to_end: int = 0
    closed: bool = False

    @property
    def url(self) -> str:
        """Where it goes, without a query."""
        if self.request is not None:
            return self.request.base_url + self.request.path
        return without_query(self.presigned_url)


def judge(raised: BaseException, limiter: Limiter | Unlimited, waits: bool) -> tuple[Failure, ArkerError] | None:
    """How an attempt failed, and the error that says so; its place goes back to the limiter. None: it was ended."""
    if isinstance(raised, ApiError):
        if is_overload(raised.status, raised.code, raised.message):
            limiter.refused(waits, retry_after=raised.retry_after)
        else:
            limiter.answered(waits)
        return _classify(raised), raised
    limiter.leave(waits)
    if isinstance(raised, ExchangeFailedError):
        kind = NetworkTimeoutError if raised.timed_out else NetworkError
        return Failure.LOST if raised.delivered else Failure.NOT_SENT, kind(raised.message)
    return (Failure.REFUSED, raised) if isinstance(raised, ArkerError) else None


def _classify(error: ApiError) -> Failure:
    if isinstance(error, BadReplyError):
        return Failure.REFUSED
    if error.work not in (None, "not_started") or not is_retryable_answer(error.status, error.code, error.message):
        return Failure.REFUSED
    return Failure.BUSY if is_proof_of_refusal(error) else Failure.UNCERTAIN


def outcome_after(before: Outcome, failure: Failure, error: ArkerError) -> Outcome:
    """What is known after one more failed attempt of a request that changes something."""
    if isinstance(error, BadReplyError) and 200 <= error.status < 300 and error.is_json:
        return "applied"
    if before == "applied":
        return before
    if failure is Failure.LOST or (isinstance(error, ApiError) and not is_proof_of_refusal(error)):
        return "unknown"
    # Nothing that comes later tells whether an attempt that was lost had been processed.
    return before


class DeadlineScope:
    """Bounds what is done inside. It swallows nothing: a deadline that has passed raises."""

    def __init__(self, deadline: float | None, progress: Progress) -> None:
        self._deadline = deadline
        self._progress = progress
        self._scope: anyio.CancelScope | None = None

    def __enter__(self) -> None:
        if self._deadline is not None:
            self._scope = anyio.move_on_after(self._deadline)
            self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._scope is None:
            return
        self._scope.__exit__(kind, error, traceback)
        if self._scope.cancelled_caught:
            late = self._progress.complete(DeadlineExceededError(f"the deadline of {self._deadline:g} s has passed"))
            late.outcome = "unknown" if self._progress.in_flight else self._progress.outcome
            raise late from self._progress.last


def deadline_scope(deadline: float | None, progress: Progress) -> DeadlineScope:
    """Bound what is done inside, in seconds; raises `DeadlineExceededError`, saying what is known by then."""
    if deadline is not None:
        check.check_seconds("deadline", deadline)
    return DeadlineScope(deadline, progress)


__all__ = ["HELD_WELL", "Attempt", "Progress", "deadline_scope", "judge", "outcome_after"]
