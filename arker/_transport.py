"""The one attempt loop: try, decide, wait. It knows no operation and no HTTP library."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread
from attrs import define, field

from arker._decipher import decipher
from arker._retry import Failure, is_retryable_answer, next_delay, parse_retry_after
from arker._wire import Call, ExchangeFailedError, Replay, Response
from arker.errors import (
    ApiError,
    ArkerError,
    BadReplyError,
    ConfigurationError,
    DeadlineExceededError,
    NetworkError,
    NetworkTimeoutError,
    Outcome,
)
from arker.models import _checks as check

if TYPE_CHECKING:
    import aiohttp

    from arker._http import Http
    from arker.config import Settings

T = TypeVar("T")
E = TypeVar("E", bound=ArkerError)

logger = logging.getLogger("arker")


@define
class Progress:
    """What is known of an operation while it goes on; an operation of several requests shares one.

    Attributes:
        operation: Its name.
        attempts: Requests that were tried.
        outcome: Whether it may have had an effect.
        in_flight: Whether a request that changes something is on its way.
        idempotency_key: The key of the last request, if it had one.
        last: The error of the last attempt.
    """

    operation: str
    attempts: int = 0
    outcome: Outcome = "not_started"
    in_flight: bool = False
    idempotency_key: str | None = None
    last: ArkerError | None = field(default=None, repr=False)

    def complete(self, error: E) -> E:
        """Write onto an error what is known, and return it."""
        error.operation = self.operation
        error.attempts = self.attempts
        error.outcome = self.outcome
        error.idempotency_key = self.idempotency_key
        return error


@define
class Attempt:
    """How one kind of request is tried.

    Attributes:
        describe: What is sent, for the log; without secrets.
        changes_something: Whether it has an effect on the server.
        may_repeat_lost: Whether it may be sent again after it was perhaps processed.
    """

    describe: str
    changes_something: bool
    may_repeat_lost: bool


class Transport:
    """Sends calls: with attempts by the policy, under a deadline, with errors that say what is known."""

    def __init__(
        self,
        settings: Settings,
        *,
        session: aiohttp.ClientSession | None = None,
        prepare: Callable[[], Awaitable[None]] | None = None,
        diagnose: Callable[[], None] | None = None,
    ) -> None:
        """Make one.

        Args:
            settings: The client's settings.
            session: The caller's session, if it is to be used.
            prepare: Awaited before the first request.
            diagnose: Called when no answer can be had; may raise an error that says why.
        """
        self.settings = settings
        self._session = session
        self._prepare = prepare
        self._diagnose = diagnose
        self._lock = threading.Lock()
        self._http: Http | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    async def ready(self) -> Http:
        """The HTTP side, made at the first request; raises `ConfigurationError` when the client is closed."""
        if self._closed:
            raise ConfigurationError("the client is closed")
        if self._prepare is not None:
            await self._prepare()
            self._prepare = None
        if self._http is None:
            # aiohttp is most of the package's import time, and cattrs much of the rest. They are imported at the first
            # request; in a thread, so that the program's other tasks go on meanwhile.
            for name in ("arker._http", "arker._converter"):
                if name not in sys.modules:
                    await anyio.to_thread.run_sync(import_module, name)
        from arker._http import Http

        # Another task, or a loop in another thread, may have been quicker; or the client was closed meanwhile.
        with self._lock:
            if self._closed:
                raise ConfigurationError("the client is closed")
            if self._http is None:
                self._http = Http(self.settings, self._session)
            return self._http

    async def aclose(self) -> None:
        with self._lock:
            self._closed = True
        if self._http is not None:
            await self._http.aclose()

    def close_outside(self) -> None:
        """`aclose` for a caller in whose thread no event loop runs, such as the end of a test's fixture."""
        with self._lock:
            self._closed = True
        if self._http is not None:
            self._http.close_outside()

    async def send(self, call: Call[T], *, deadline: float | None = None, progress: Progress | None = None) -> T:
        """The result of a call.

        Args:
            call: What to send.
            deadline: Seconds for all attempts together.
            progress: Shared by the requests of one operation, whose deadline it is then.
        """
        progress = progress if progress is not None else Progress(call.operation)
        progress.idempotency_key = call.request.idempotency_key
        if deadline is None:
            return await self._send(call, progress)
        with deadline_scope(deadline, progress):
            return await self._send(call, progress)

    async def _send(self, call: Call[T], progress: Progress) -> T:
        http = self._http if self._http is not None and not self._closed else await self.ready()
        request = call.request

        async def once() -> T:
            response = await http.exchange(request)
            try:
                return decipher(call, response, self._redact)
            except ArkerError as error:
                raise self._annotate(error, response) from None

        attempt = Attempt(
            f"{request.method} {request.path}",
            changes_something=call.changes_something,
            may_repeat_lost=call.replay is Replay.SAFE,
        )
        try:
            return await self.attempts(once, attempt, progress)
        except ApiError as error:
            # A DELETE that was repeated finds nothing because an earlier attempt had succeeded.
            if call.gone is None or progress.attempts == 1 or error.status != 404:
                raise
            return call.gone

    async def attempts(self, once: Callable[[], Awaitable[T]], attempt: Attempt, progress: Progress) -> T:
        """Do something until it succeeds or the policy gives up; raises an `ArkerError` that says what is known."""
        policy = self.settings.retry
        failures = 0
        debug = logger.isEnabledFor(logging.DEBUG)
        while True:
            started = time.perf_counter() if debug else 0.0
            progress.attempts += 1
            progress.in_flight = attempt.changes_something
            try:
                result = await once()
            except ExchangeFailedError as lost:
                failure = Failure.LOST if lost.delivered else Failure.NOT_SENT
                error: ArkerError = (NetworkTimeoutError if lost.timed_out else NetworkError)(lost.message)
            except ApiError as answer:
                failure, error = _classify(answer), answer
            except ArkerError as refused:
                failure, error = Failure.REFUSED, refused
            else:
                progress.in_flight = False
                if debug:
                    logger.debug(
                        "%s: attempt %d, %s: done in %.1f ms",
                        progress.operation,
                        progress.attempts,
                        attempt.describe,
                        (time.perf_counter() - started) * 1000,
                    )
                return result
            progress.in_flight = False
            failures += 1
            if attempt.changes_something:
                progress.outcome = _outcome(progress.outcome, failure, error)
            progress.complete(error)
            progress.last = error
            import random  # needs its time to load, and only after a failure

            delay = next_delay(
                policy,
                failure,
                failures=failures,
                may_repeat_lost=attempt.may_repeat_lost,
                retry_after=error.retry_after,
                random=random.random(),  # noqa: S311 - spreads attempts, decides no secret
            )
            if debug:
                logger.debug("%s: attempt %d, %s: %s", progress.operation, progress.attempts, attempt.describe, error)
            if delay is None:
                if self._diagnose is not None and isinstance(error, NetworkError):
                    self._diagnose()
                raise error from None
            logger.info("%s: trying again in %.2f s after: %s", progress.operation, delay, error)
            await anyio.sleep(delay)

    def _annotate(self, error: ArkerError, response: Response) -> ArkerError:
        """Add what the response's headers say, and take the key out of what the server said."""
        error.request_id = response.headers.get("x-request-id")
        error.retry_after = parse_retry_after(response.headers.get("retry-after"), time.time())
        for name in ("message", "code", "request_id", "path"):
            value = getattr(error, name, None)
            if isinstance(value, str):
                setattr(error, name, self._redact(value))
        error.args = tuple(self._redact(arg) if isinstance(arg, str) else arg for arg in error.args)
        return error

    def _redact(self, text: str) -> str:
        return text.replace(self.settings.api_key, "[redacted]")


def _classify(error: ApiError) -> Failure:
    if isinstance(error, BadReplyError):
        return Failure.REFUSED
    return Failure.BUSY if is_retryable_answer(error.status, error.code, error.message) else Failure.REFUSED


def _outcome(before: Outcome, failure: Failure, error: ArkerError) -> Outcome:
    """What is known after one more failed attempt of a request that changes something."""
    if isinstance(error, BadReplyError) and 200 <= error.status < 300:
        return "applied"
    failed_inside = error.status >= 500 or (error.code == "internal" and 200 <= error.status < 300)
    if failure is Failure.LOST or (failed_inside and error.status not in (501, 503)):
        return "unknown"
    # Nothing that comes later tells whether an attempt that was lost had been processed.
    return before


@contextmanager
def deadline_scope(deadline: float | None, progress: Progress) -> Generator[None, None, None]:
    """Bound what is done inside, in seconds; raises `DeadlineExceededError`, saying what is known by then."""
    if deadline is None:
        yield
        return
    check.check_seconds("deadline", deadline)
    with anyio.move_on_after(deadline) as scope:
        yield
    if scope.cancelled_caught:
        raise DeadlineExceededError(
            f"the deadline of {deadline:g} s has passed",
            operation=progress.operation,
            attempts=progress.attempts,
            outcome="unknown" if progress.in_flight else progress.outcome,
            idempotency_key=progress.idempotency_key,
        ) from progress.last


__all__ = ["Attempt", "Progress", "Transport", "deadline_scope"]
