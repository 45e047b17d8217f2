"""The one attempt loop: try, decide, wait. It knows no operation and no HTTP library."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import anyio
import anyio.to_thread
from attrs import define, field

from arker import _routes
from arker._decipher import decipher
from arker._limiter import UNLIMITED, Limiter, Unlimited
from arker._observe import Observer
from arker._redaction import Redactor
from arker._retry import Failure, is_overload, is_retryable_answer, next_delay, parse_retry_after
from arker._silence import watched
from arker._window import Window
from arker._wire import Call, ExchangeFailedError, Flow, Replay, Request, Response, without_query
from arker.errors import (
    ApiError,
    ArkerError,
    BadReplyError,
    ConfigurationError,
    DeadlineExceededError,
    NetworkError,
    NetworkTimeoutError,
    Outcome,
    VMGoneError,
)
from arker.models import _checks as check

if TYPE_CHECKING:
    import aiohttp

    from arker._http import Http
    from arker._ledger import Ledger
    from arker.config import Settings
    from arker.hooks import Hooks

T = TypeVar("T")
E = TypeVar("E", bound=ArkerError)

logger = logging.getLogger("arker")

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
        last: The error of the last attempt.
        path: Path of the last request to the API, which tells the VM and run.
        redact: Takes secrets out of a text.
    """

    operation: str
    attempts: int = 0
    outcome: Outcome = "not_started"
    in_flight: bool = False
    idempotency_key: str | None = None
    abandoned: bool = False
    last: ArkerError | None = field(default=None, repr=False)
    path: str = field(default="", repr=False)
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
        vm_id, run_id = _routes.ids_in(self.path)
        # What has been found out otherwise stays: a run that was started has an id that no path names.
        if vm_id is not None and error.vm_id is None:
            error.vm_id = self.redact(vm_id)
        if run_id is not None and error.run_id is None:
            error.run_id = self.redact(run_id)
        return error


@define
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

    @property
    def url(self) -> str:
        """Where it goes, without a query."""
        if self.request is not None:
            return self.request.base_url + self.request.path
        return without_query(self.presigned_url)


class Transport:
    """Sends calls: with attempts by the policy, under a deadline, with errors that say what is known."""

    def __init__(
        self,
        settings: Settings,
        *,
        session: aiohttp.ClientSession | None = None,
        prepare: Callable[[], Awaitable[None]] | None = None,
        diagnose: Callable[[], None] | None = None,
        ledger: Ledger | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        """Make one.

        Args:
            settings: The client's settings.
            session: The caller's session, if it is to be used.
            prepare: Awaited before the first request.
            diagnose: Called when no answer can be had; may raise an error that says why.
            ledger: Where forks are written down.
            hooks: The caller's.
        """
        self.settings = settings
        self.ledger = ledger
        self.redact = Redactor(settings.api_key)
        self.observer = Observer(hooks, self.redact)
        self._session = session
        self._prepare = prepare
        self._diagnose = diagnose
        self.limiter = Limiter(Window(settings.max_connections))
        self.lacking: set[tuple[str, str]] = set()
        """What servers, by their base URLs, have turned out not to do; kept for those who send the calls."""
        self._lock = threading.Lock()
        self._http: Http | None = None
        self._closed = False
        self._cleanups: set[asyncio.Future[None]] = set()
        _all.add(self)

    def _after_fork_in_child(self) -> None:
        # Whoever held the lock or a place in the window goes on in the parent.
        self._lock = threading.Lock()
        self.limiter = Limiter(Window(self.settings.max_connections))

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

    @contextmanager
    def cleaning_up(self) -> Generator[None, None, None]:
        """What is done inside needs the client; whoever closes it waits for that. It must have a bound of its own."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._cleanups.add(over)
        try:
            yield
        finally:
            self._cleanups.discard(over)
            over.set_result(None)

    async def settled(self) -> None:
        """Wait until all clean-ups of this loop have come to their end."""
        # Tasks that were cancelled together begin to clean up one after the other.
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        while going_on := [each for each in tuple(self._cleanups) if each.get_loop() is loop]:
            await asyncio.wait(going_on)

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

    def send(
        self, call: Call[T], *, deadline: float | None = None, progress: Progress | None = None
    ) -> Coroutine[Any, Any, T]:
        """The result of a call.

        Args:
            call: What to send.
            deadline: Seconds for all attempts together.
            progress: Shared by the requests of one operation, whose deadline it is then.
        """
        # No coroutine around the coroutine: of hundreds at once, each object is one more for the garbage collector.
        progress = progress if progress is not None else Progress(call.operation)
        progress.idempotency_key = call.request.idempotency_key
        progress.path = call.request.path
        progress.redact = self.redact
        return self._send(call, progress) if deadline is None else self._send_within(deadline, call, progress)

    async def _send_within(self, deadline: float, call: Call[T], progress: Progress) -> T:
        with deadline_scope(deadline, progress):
            return await self._send(call, progress)

    async def _send(self, call: Call[T], progress: Progress) -> T:
        http = self._http if self._http is not None and not self._closed else await self.ready()
        request = call.request
        attempt = Attempt(
            request.method,
            changes_something=call.changes_something and request.method != "GET",
            may_repeat_lost=call.replay is Replay.SAFE,
            request=request,
            sent=len(request.body) if request.body is not None else 0,
        )
        try:
            return await self.attempts(_Once(self, http, call, attempt), attempt, progress)
        except ApiError as error:
            # A DELETE that was repeated finds nothing because an earlier attempt had succeeded.
            if call.gone is None or progress.attempts == 1 or error.status != 404:
                raise
            return call.gone

    async def send_remade(self, make: Callable[[], Call[T]], progress: Progress) -> T:
        """The result of a call that is made anew for each attempt, since what is left to do becomes less."""
        http = await self.ready()
        call = make()
        upcoming: Call[T] | None = call
        attempt = Attempt(call.request.method, call.changes_something, call.replay is Replay.SAFE, call.request)
        progress.path, progress.redact = call.request.path, self.redact

        async def once() -> T:
            nonlocal upcoming
            current, upcoming = upcoming if upcoming is not None else make(), None
            attempt.request = current.request
            attempt.sent = len(current.request.body) if current.request.body is not None else 0
            return await _Once(self, http, current, attempt)()

        return await self.attempts(once, attempt, progress)

    async def attempts(self, once: Callable[[], Awaitable[T]], attempt: Attempt, progress: Progress) -> T:
        """Do something until it succeeds or the policy gives up; raises an `ArkerError` that says what is known."""
        policy, request = self.settings.retry, attempt.request
        # An object store is no business of the API's limits.
        limiter = UNLIMITED if request is None else self.limiter
        waits = request is not None and request.awaits_work
        number = limiter.number()
        failures = 0
        watch = self.observer.watch(attempt, progress)
        while True:
            if not limiter.try_enter(waits):
                await limiter.enter(waits, number)
            started = time.monotonic()
            progress.attempts += 1
            progress.in_flight = attempt.changes_something
            attempt.advanced = False
            if watch is not None:
                watch.begin()
            try:
                result = await once()
            except BaseException as raised:
                judged = _judge(raised, limiter, waits)
                if judged is None:
                    if watch is not None:
                        watch.end(cancelled=True)
                    raise
                failure, error = judged
            else:
                limiter.answered(waits)
                progress.in_flight = False
                if watch is not None:
                    watch.end()
                return result
            progress.in_flight = False
            held_well = waits and failure is Failure.LOST and time.monotonic() - started >= HELD_WELL
            failures = 1 if held_well or attempt.advanced else failures + 1
            if attempt.changes_something:
                progress.outcome = _outcome(progress.outcome, failure, error)
            progress.complete(error)
            progress.last = error
            if watch is not None:
                watch.end(error)
            import random  # needs its time to load, and only after a failure

            delay = next_delay(
                policy,
                failure,
                failures=failures,
                may_repeat_lost=attempt.may_repeat_lost,
                retry_after=error.retry_after,
                random=random.random(),  # noqa: S311 - spreads attempts, decides no secret
            )
            if delay is None or (progress.abandoned and not progress.may_have_begun):
                if self._diagnose is not None and isinstance(error, NetworkError):
                    self._diagnose()
                raise error from None
            self.observer.retry(attempt, progress, delay, error)
            await anyio.sleep(delay)

    def annotate(self, error: ArkerError, response: Response) -> ArkerError:
        """Add what the response's headers say, and take the key out of what the server said."""
        error.request_id = response.headers.get("x-request-id")
        error.retry_after = parse_retry_after(response.headers.get("retry-after"), time.time())
        for name in ("message", "code", "request_id", "path"):
            value = getattr(error, name, None)
            if isinstance(value, str):
                setattr(error, name, self.redact(value))
        error.args = tuple(self.redact(arg) if isinstance(arg, str) else arg for arg in error.args)
        return error


_all: weakref.WeakSet[Transport] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for transport in list(_all):
        transport._after_fork_in_child()  # pyright: ignore[reportPrivateUsage]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


@define(eq=False)
class _Once(Generic[T]):
    """One exchange of a call, from the request to the result."""

    transport: Transport
    http: Http
    call: Call[T]
    attempt: Attempt

    async def __call__(self) -> T:
        call, transport = self.call, self.transport
        silence = transport.settings.timeouts.silence
        if call.probe is not None and silence is not None:
            flow = Flow()
            exchange = watched(self.http.exchange(call.request, flow), call.probe, silence, flow)
        else:
            exchange = self.http.exchange(call.request)
        self.attempt.response = response = await exchange
        try:
            return decipher(call, response, transport.redact)
        except ArkerError as error:
            raise transport.annotate(error, response) from None


def _judge(raised: BaseException, limiter: Limiter | Unlimited, waits: bool) -> tuple[Failure, ArkerError] | None:
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
    return Failure.BUSY if is_retryable_answer(error.status, error.code, error.message) else Failure.REFUSED


def _outcome(before: Outcome, failure: Failure, error: ArkerError) -> Outcome:
    """What is known after one more failed attempt of a request that changes something."""
    if isinstance(error, BadReplyError) and 200 <= error.status < 300:
        return "applied"
    if isinstance(error, VMGoneError):
        return "unknown"
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
        error = progress.complete(DeadlineExceededError(f"the deadline of {deadline:g} s has passed"))
        error.outcome = "unknown" if progress.in_flight else progress.outcome
        raise error from progress.last


__all__ = ["Attempt", "Progress", "Transport", "deadline_scope"]
