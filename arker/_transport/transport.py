"""The one retry loop: try, decide, wait. It depends on no operation and no HTTP library."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import define, evolve, field

from arker._basics.guidance import CLOSED
from arker._protocol.reader import Reader
from arker._protocol.reply import decipher, hints
from arker._protocol.request import Call, Flow, Replay, Response
from arker._protocol.retryable import parse_retry_after
from arker._tasks import clock
from arker._tasks.process import hand_in
from arker._tasks.running_loop import running_loop
from arker._tasks.threads import in_thread
from arker._transport.attempts import HELD_WELL, Attempt, Progress, deadline_scope, judge, outcome_after
from arker._transport.limiter import UNLIMITED, Limiter
from arker._transport.liveness import watched
from arker._transport.observer import Observer
from arker._transport.open_blocks import Blocks, was_closed
from arker._transport.redaction import Redactor
from arker._transport.retry import Failure, next_delay
from arker._transport.window import Window
from arker.errors import ArkerError, ConfigurationError, NetworkError
from arker.errors.api import is_gone, is_surely_gone

if TYPE_CHECKING:
    import aiohttp

    from arker._transport.http.exchanges import Http
    from arker._transport.http.sockets import Socket
    from arker.config import Settings
    from arker.hooks import Hooks

T = TypeVar("T")

logger = logging.getLogger("arker")


class Transport:
    """A sender of calls: with retries by the policy, under a deadline, with errors that report the known state."""

    def __init__(
        self,
        settings: Settings,
        *,
        session: aiohttp.ClientSession | None = None,
        prepare: Callable[[], Awaitable[None]] | None = None,
        diagnose: Callable[[], None] | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        """Make a transport.

        Args:
            settings: The client's settings.
            session: The caller's session, if given.
            prepare: Awaited before the first request.
            diagnose: Called when no answer can be obtained; may raise an error that says why.
            hooks: The caller's hooks.
        """
        self.settings = settings
        self.redact = Redactor(settings.api_key)
        self.observer = Observer(hooks, self.redact)
        self.reader = Reader(strict=settings.strict_replies, tell=_tell_misfit)
        self._session = session
        self._prepare = prepare
        self._diagnose = diagnose
        self.in_new_loop: Callable[[], None] = lambda: None  # called in each loop that requests are sent in, once
        self.limiter = Limiter(Window(settings.max_connections))
        self._lock = threading.Lock()
        self._http: Http | None = None
        self._closed = False
        self.blocks = Blocks()
        _all.add(self)

    def _after_fork_in_child(self) -> None:
        # The holders of the lock and of places in the window go on in the parent.
        self._lock = threading.Lock()
        self.limiter = Limiter(Window(self.settings.max_connections))
        self.blocks = Blocks(of_parent=self.blocks)

    @property
    def closed(self) -> bool:
        return self._closed

    async def ready(self) -> Http:
        """Return the HTTP side, made at the first request; raises `ConfigurationError` when the client is closed."""
        running_loop()  # what other libraries run fails in strange ways, and late
        if self._closed:
            await asyncio.sleep(0)  # a caller who tries again and again must not stop the loop
            raise ConfigurationError(CLOSED)
        if self._prepare is not None:
            await self._prepare()
            self._prepare = None
        if self._http is None:
            # aiohttp is most of the package's import time, and cattrs much of the rest. They are imported at the first
            # request; in a thread, so that the program's other tasks go on meanwhile.
            for name in ("arker._transport.http.exchanges", "arker._protocol.codec.leniency"):
                if name not in sys.modules:
                    await in_thread(import_module, name)
        from arker._transport.http.exchanges import Http  # it has just been loaded

        # Another task, or a loop in another thread, may have been quicker; or the client was closed meanwhile.
        with self._lock:
            if self._closed:
                raise ConfigurationError(CLOSED)
            if self._http is None:
                self._http = Http(self.settings, self._session, self._learn_round_trip, self.in_new_loop)
            return self._http

    def _learn_round_trip(self, seconds: float) -> None:
        self.limiter.learn_round_trip(seconds)  # it is another one after a fork

    async def aclose(self) -> None:
        with self._lock:
            self._closed = True
        if self._http is not None:
            await self._http.aclose()

    def close_outside(self) -> None:
        """Close the transport from a thread without a running event loop, such as at the end of a test's fixture."""
        with self._lock:
            self._closed = True
        if self._http is not None:
            self._http.close_outside()

    def send(
        self, call: Call[T], *, deadline: float | None = None, progress: Progress | None = None
    ) -> Coroutine[Any, Any, T]:
        """Send a call, and return its result.

        Args:
            call: The call to send.
            deadline: Seconds for all attempts together.
            progress: Shared by the requests of one operation; then the deadline is the operation's.
        """
        # No coroutine around the coroutine: of hundreds at once, each object is one more for the garbage collector.
        progress = progress if progress is not None else Progress(call.operation)
        progress.idempotency_key = call.request.idempotency_key
        progress.vm_id, progress.run_id = call.vm_id, call.run_id
        progress.redact = self.redactor(call) if call.secrets else self.redact
        if deadline is not None:
            return self._send_within(deadline, call, progress)
        if self._http is None or self._closed:
            return self._send_when_ready(call, progress)
        exchange = _exchange(self, self._http, call, progress)
        return self._results(exchange, exchange, progress)

    async def _send_within(self, deadline: float, call: Call[T], progress: Progress) -> T:
        with deadline_scope(deadline, progress):
            return await self._send_when_ready(call, progress)

    async def _send_when_ready(self, call: Call[T], progress: Progress) -> T:
        exchange = _exchange(self, await self.ready(), call, progress)
        return await self._results(exchange, exchange, progress)

    async def send_remade(self, make: Callable[[], Call[T]], progress: Progress) -> T:
        """Send a call that is built anew for each attempt, since less work is left each time. Return its result."""
        call = make()
        upcoming: Call[T] | None = call
        progress.vm_id, progress.run_id, progress.redact = call.vm_id, call.run_id, self.redactor(call)
        exchange = _exchange(self, await self.ready(), call, progress)

        def once() -> Coroutine[Any, Any, Response]:
            nonlocal upcoming
            current, upcoming = upcoming if upcoming is not None else make(), None
            exchange.take(current)
            return exchange()

        return await self._results(once, exchange, progress)

    def _results(
        self, once: Callable[[], Awaitable[Any]], exchange: _Exchange[T], progress: Progress
    ) -> Coroutine[Any, Any, T]:
        return self.attempts(once, exchange, progress)  # the exchange makes the result of a response

    async def open_socket(self, call: Call[Any], ticket: str, progress: Progress) -> Socket:
        """Open a WebSocket, and return it.

        Args:
            call: The call of its handshake.
            ticket: What stands for the API key; a secret.
            progress: The state of the operation that it is a part of.
        """
        http = await self.ready()
        attempt = Attempt(call.request.method, changes_something=False, may_repeat_lost=True, request=call.request)

        async def once() -> Socket:
            from arker._transport.http.sockets import HandshakeRefusedError  # it was loaded with the HTTP side

            try:
                socket = await http.open_socket(call.request, ticket)
            except HandshakeRefusedError as refused:
                # The server may have repeated the ticket.
                body = refused.response.body.replace(ticket.encode(), b"[redacted]")
                attempt.response = response = evolve(refused.response, body=body)
                try:
                    decipher(call, response, self.reader, self.redact)
                except ArkerError as error:
                    raise self.annotate(error, response) from None
                raise AssertionError from None  # no reply of that kind is a result of such a call
            attempt.response = Response(101, {}, b"")
            return socket

        return await self.attempts(once, attempt, progress)

    async def attempts(self, once: Callable[[], Awaitable[T]], attempt: Attempt, progress: Progress) -> T:
        """Retry something until it succeeds or the policy gives up; raises an `ArkerError` with the known state."""
        blocks = self.blocks
        if blocks.closing:
            await blocks.refuse_call(attempt, progress)
        blocks.begin(attempt, progress)
        policy, request = self.settings.retry, attempt.request
        # The API's limits do not apply to an object store.
        limiter = UNLIMITED if request is None else self.limiter
        waits, deletes = request is not None and request.awaits_work, attempt.method == "DELETE"
        number = limiter.number()
        failures = 0
        watch = self.observer.watch(attempt, progress)
        try:
            while True:
                if not limiter.try_enter(waits, deletes):
                    await limiter.enter(waits, number, deletes)
                started = clock.now()
                progress.attempts += 1
                progress.in_flight = attempt.changes_something
                attempt.advanced = False
                if watch is not None:
                    watch.begin()
                try:
                    result: T = attempt.conclude(await once())
                except BaseException as raised:
                    judged = judge(raised, limiter, waits, started if deletes else None)
                    if judged is None:
                        if watch is not None:
                            watch.end(cancelled=True)
                        raise
                    failure, error = judged
                    del judged
                else:
                    limiter.answered(waits)
                    progress.in_flight = False
                    if watch is not None:
                        watch.end()
                    return result
                progress.in_flight = False
                held_well = (
                    waits and failure in (Failure.LOST, Failure.UNCERTAIN) and clock.now() - started >= HELD_WELL
                )
                failures = 1 if held_well or attempt.advanced else failures + 1
                if attempt.changes_something:
                    progress.outcome = outcome_after(progress.outcome, failure, error)
                progress.complete(error)
                if progress.bounded:
                    progress.last = error
                if watch is not None:
                    watch.end(error)
                delay = next_delay(
                    policy,
                    failure,
                    failures=failures,
                    patience=None if attempt.until is None else attempt.until - clock.now(),
                    may_repeat_lost=attempt.may_repeat_lost,
                    retry_after=error.retry_after,
                    random=random.random(),  # noqa: S311 - spreads attempts, decides no secret
                )
                if delay is None or attempt.closed or (progress.abandoned and not progress.may_have_begun):
                    if self._diagnose is not None and isinstance(error, NetworkError):
                        self._diagnose()
                    try:
                        raise error from None
                    finally:
                        del error  # its traceback has this frame, with all that the call has in memory
                self.observer.retry(attempt, progress, delay, error)
                del error
                await clock.sleep(delay)
        except asyncio.CancelledError:
            if not was_closed(attempt):
                raise
            raise progress.complete(
                ConfigurationError("the client was closed while the call was on its way")
            ).with_context(outcome="unknown" if progress.in_flight else progress.outcome) from None
        finally:
            blocks.calls.pop(attempt, None)
            if attempt.closed:
                was_closed(attempt)  # should it have ended otherwise, its task is not being cancelled any more
            attempt.task = None  # if that is cancelled, it keeps the traceback, which has this frame

    def redactor(self, call: Call[Any]) -> Callable[[str], str]:
        """Return what removes the secrets of a call from a text."""
        return Redactor(self.settings.api_key, *call.secrets) if call.secrets else self.redact

    def annotate(self, error: ArkerError, response: Response, redact: Callable[[str], str] | None = None) -> ArkerError:
        """Add what the response's headers say to an error, and remove secrets from the server's words."""
        redact = redact or self.redact
        wait, request_id = hints(response.body, self.reader)
        error.request_id = response.headers.get("x-request-id") or request_id
        asked = parse_retry_after(response.headers.get("retry-after"), clock.wall(), response.headers.get("date"))
        error.retry_after = asked if asked is not None else wait
        for name in ("message", "code", "request_id", "path", "vm_id", "run_id", "session_id"):
            value = getattr(error, name, None)
            if isinstance(value, str):
                setattr(error, name, redact(value))
        error.args = tuple(redact(arg) if isinstance(arg, str) else arg for arg in error.args)
        return error


def _tell_misfit(model: str, field: str) -> None:
    where = f"{model}.{field}" if field else model
    logger.warning("the server's %s is not what this version expects: it is in misfits, and not shown again", where)


_all: weakref.WeakSet[Transport] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for transport in list(_all):
        transport._after_fork_in_child()  # pyright: ignore[reportPrivateUsage]


hand_in("transports", in_child=_after_fork_in_child)


@define(eq=False)
class _Exchange(Attempt, Generic[T]):
    """One exchange of a call with the API, from the request to the result; it may be repeated."""

    transport: Transport = field(kw_only=True)
    http: Http = field(kw_only=True)
    call: Call[T] = field(kw_only=True)
    progress: Progress = field(kw_only=True)

    def take(self, call: Call[T]) -> None:
        """Continue with a call that was built anew."""
        self.call, self.request = call, call.request

    def __call__(self) -> Coroutine[Any, Any, Response]:
        """Begin an exchange, and return what awaits its response."""
        # No coroutine around the coroutine: each step of hundreds of calls at once goes through all of them.
        call, progress = self.call, self.progress
        again = progress.attempts > 1
        if again and call.remade is not None and self.until is not None and progress.outcome == "not_started":
            # The server is to wait only for the seconds that are left. A request that it may have taken is repeated
            # as it was: its key with another body would be a conflict.
            self.request = call.remade(max(0, math.ceil(self.until - clock.now())))
            self.call = call = evolve(call, request=self.request)
        if call.probe is not None and (silence := self.transport.settings.timeouts.silence) is not None:
            self.flow = flow = Flow()
            return watched(self.http.exchange(call.request, flow), call.probe, silence, flow)
        return self.http.exchange(call.request)

    def conclude(self, made: Response) -> T:
        """Return the result of the call, of its response."""
        call, transport, progress = self.call, self.transport, self.progress
        self.response = response = made
        redact = progress.redact
        try:
            return decipher(call, response, transport.reader, redact)
        except ArkerError as error:
            # A DELETE that was repeated finds nothing because an earlier attempt had succeeded.
            if call.gone is not None and progress.attempts > 1 and is_gone(error):
                if is_surely_gone(error):
                    return call.gone
                # A proxy's page does not prove it: it may never have let an attempt through.
                if not call.needs_proof:
                    where = transport.redact(call.request.path)
                    logger.warning("%s may still exist, since only a proxy says that it does not", where)
                    return call.gone
            raise transport.annotate(error, response, redact) from None


def _exchange(transport: Transport, http: Http, call: Call[T], progress: Progress) -> _Exchange[T]:
    request = call.request
    until = None if call.patience is None else clock.now() + call.patience
    return _Exchange(
        request.method,
        call.changes_something and request.method != "GET",
        call.replay is Replay.SAFE,
        request,
        until=until,
        transport=transport,
        http=http,
        call=call,
        progress=progress,
    )


__all__ = ["Transport"]
