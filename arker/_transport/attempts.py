"""One request and its attempts: the known state, and the meaning of a failure. It sends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
from attrs import define, field

from arker._protocol.request import ExchangeFailedError, Flow, Request, Response, without_query
from arker._protocol.retryable import is_overload, is_proof_of_refusal, is_retryable_answer
from arker._tasks import clock
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
"""Seconds; a connection lost after at least this time is no sign of a broken network."""


@define
class Progress:
    """The known state of an operation in progress. The requests of one operation share it.

    Attributes:
        operation: Its name.
        attempts: The number of requests tried.
        outcome: Whether the operation may have had an effect.
        in_flight: Whether a request that changes something is in flight.
        idempotency_key: The key of the last request, if it had one.
        abandoned: Whether the caller has gone, so that a request without effect is not repeated.
        makes: Whether it makes a resource to be removed later, such as a VM, whose id only the reply has.
        bounded: Whether a `DeadlineScope` is around it, which raises its error from the last attempt's.
        last: The error of the last attempt that failed, if bounded: the scope forgets it, lest it stay in memory.
        vm_id: The VM that it is about.
        run_id: The run that it is about.
        redact: Removes secrets from a text.
    """

    operation: str
    attempts: int = 0
    outcome: Outcome = "not_started"
    in_flight: bool = False
    idempotency_key: str | None = None
    abandoned: bool = False
    makes: bool = False
    bounded: bool = False
    last: ArkerError | None = field(default=None, repr=False)
    vm_id: str | None = None
    run_id: str | None = None
    redact: Callable[[str], str] = field(default=str, repr=False)

    @property
    def may_have_begun(self) -> bool:
        """Whether the operation may already have had an effect."""
        return self.in_flight or self.outcome != "not_started"

    def complete(self, error: E) -> E:
        """Add the known state to an error, and return it."""
        error.operation = self.operation
        error.attempts = self.attempts
        error.outcome = self.outcome
        error.idempotency_key = self.idempotency_key
        # Keep what is known from elsewhere: a started run has an id that no request contains.
        if self.vm_id is not None and error.vm_id is None:
            error.vm_id = self.redact(self.vm_id)
        if self.run_id is not None and error.run_id is None:
            error.run_id = self.redact(self.run_id)
        return error


@define(eq=False)
class Attempt:
    """The rules and the state of the attempts of one request.

    Attributes:
        method: HTTP method.
        changes_something: Whether the request has an effect on the server.
        may_repeat_lost: Whether it may be sent again although it may have been processed.
        request: The request to the API, if it is one.
        presigned_url: Its URL, if it does not go to the API.
        label: What the log shows as its path, if it does not go to the API.
        sent: Size of the body that is sent, in bytes, if it does not go to the API.
        response: The response, once received.
        advanced: Whether the last attempt failed but made progress that the next one continues.
        task: The task that it is in.
        asked_to_end: How often that task had been cancelled before.
        ending: Whether to end it because the client is being closed.
        closed: Whether its task has been cancelled for that.
        removes: Whether it is a part of removing something, besides being a deletion itself.
        flow: The bytes transferred, if that is watched.
        until: The time up to which it is repeated any number of times.
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
    ending: bool = False
    closed: bool = False
    removes: bool = False
    flow: Flow | None = field(default=None, repr=False)
    until: float | None = None

    def conclude(self, made: Any) -> Any:
        """Return the result of an attempt that has succeeded, of what it has made; raise if that is a failure."""
        return made

    @property
    def bytes_sent(self) -> int:
        """The size of the body that is sent."""
        return self.sent if self.request is None else self.request.size

    @property
    def url(self) -> str:
        """The request's URL, without a query."""
        if self.request is not None:
            return self.request.base_url + self.request.path
        return without_query(self.presigned_url)


def judge(
    raised: BaseException, limiter: Limiter | Unlimited, waits: bool, deletion_sent: float | None
) -> tuple[Failure, ArkerError] | None:
    """Return how an attempt failed and its error, or None if it was cancelled.

    Its place goes back to the limiter. ``deletion_sent`` is when the attempt began, if it is one of a deletion.
    """
    if isinstance(raised, ApiError):
        if is_overload(raised.status, raised.code, raised.message, from_service=raised.from_service):
            limiter.refused(waits, retry_after=raised.retry_after, deletion_sent=deletion_sent)
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
    """Return the known outcome after a failed attempt of a request that changes something."""
    if isinstance(error, BadReplyError) and 200 <= error.status < 300 and error.is_json:
        return "applied"
    if before == "applied":
        return before
    if failure is Failure.LOST or (isinstance(error, ApiError) and not is_proof_of_refusal(error)):
        return "unknown"
    # No later reply tells whether a lost attempt was processed.
    return before


class DeadlineScope:
    """A limit on the time of a block. It swallows no exception: it raises one when the deadline has passed."""

    def __init__(self, deadline: float | None, progress: Progress) -> None:
        self._deadline = deadline
        self._progress = progress
        self._outer = False
        self._scope: AbstractContextManager[anyio.CancelScope] | None = None
        self._entered: anyio.CancelScope | None = None

    def __enter__(self) -> None:
        if self._deadline is not None:
            self._outer, self._progress.bounded = self._progress.bounded, True
            self._scope = clock.move_on_after(self._deadline)
            self._entered = self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._scope is None or self._entered is None:
            return
        progress = self._progress
        last, progress.bounded = progress.last, self._outer
        if not self._outer:
            progress.last = None
        late: DeadlineExceededError | None = None
        try:
            self._scope.__exit__(kind, error, traceback)
            if self._entered.cancelled_caught:
                late = progress.complete(DeadlineExceededError(f"the deadline of {self._deadline:g} s has passed"))
                late.outcome = "unknown" if progress.in_flight else progress.outcome
                raise late from last
        finally:
            del late, last  # their tracebacks have this frame


def deadline_scope(deadline: float | None, progress: Progress) -> DeadlineScope:
    """Limit the time of the block, in seconds; raises `DeadlineExceededError` with the state known by then."""
    if deadline is not None:
        check.check_seconds("deadline", deadline)
    return DeadlineScope(deadline, progress)


__all__ = ["HELD_WELL", "Attempt", "Progress", "deadline_scope", "judge", "outcome_after"]
