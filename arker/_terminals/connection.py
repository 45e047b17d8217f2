"""The connection to one terminal: a task receives its output, and connects again when the connection is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from attrs import define, frozen

from arker._context import Place
from arker._protocol.calls import terminals as calls
from arker._protocol.request import ExchangeFailedError
from arker._protocol.retryable import is_retryable_answer
from arker._tasks import clock
from arker._tasks.cleanup import carry_through, end
from arker._tasks.running_loop import running_loop
from arker._terminals.incoming import Incoming
from arker._transport.attempts import Progress
from arker._transport.redaction import Redactor
from arker.errors import (
    ApiError,
    ArkerError,
    ConfigurationError,
    NetworkError,
    QuotaExceededError,
    ResourceBusyError,
    TerminalClosedError,
)
from arker.reports import Replayed

if TYPE_CHECKING:
    from arker._transport.http.sockets import Closed, Socket

logger = logging.getLogger("arker")

_FRAME: Final = 64 * 1024
_KEEPALIVE: Final = 20.0
"""Seconds between two signs of life, which keep what is in between from ending a silent connection."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_SHORT: Final = 1.0
"""Seconds; a connection that was lost sooner is not made again at once."""


@frozen(kw_only=True)
class Settings:
    """What a connection is made with, each time.

    Attributes:
        command: The program of a terminal that does not run yet; None for the login shell.
        persist: Whether the terminal outlives its connection.
        idle_seconds: Seconds after which the server ends it while no connection is there; None for the server's rule.
        reconnect: Seconds for which a lost connection is made again.
    """

    command: str | None
    persist: bool
    idle_seconds: int | None
    reconnect: float


@define
class Size:
    """The size of a terminal, in characters."""

    cols: int
    rows: int


class Connection:
    """A connection to the terminal of a session."""

    def __init__(self, place: Place, session_id: str, settings: Settings, size: Size) -> None:
        """Make none yet; see `open`."""
        self._place = place
        self._session_id = session_id
        self._settings = settings
        self._size = size
        self._socket: Socket | None = None
        self._process = os.getpid()
        self._loop = running_loop()
        self._connections = 0
        self._ticket = ""
        self._lost_at: float | None = None
        """Since when there has been no connection that was of use; None if the latest one was."""
        self._pause = _FIRST_PAUSE
        self._killing = False
        """Whether the program is to be killed: what was sent may be lost with its connection."""
        self._turn = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.incoming = Incoming()
        self.exit_code: int | None = None

    @property
    def inherited(self) -> bool:
        """Whether it was made by the process that this one was forked from."""
        return self._process != os.getpid()

    def check_loop(self) -> None:
        """Raise if it was opened in another event loop than the one that is running: what it waits for happens there.

        What it has received may be read although that loop has ended.
        """
        if self._loop is running_loop() or (self._loop.is_closed() and self.incoming.over):
            return
        if self._loop.is_closed():
            message = "the terminal was opened in an event loop that has ended; terminal() gives a new one"
        else:
            message = "the terminal was opened in another event loop: use it there (asyncio.run_coroutine_threadsafe)"
        raise self._named(ConfigurationError(message))

    async def open(self, progress: Progress) -> None:
        """Connect for the first time."""
        socket = await self._connect(progress)
        self._socket = socket
        tasks = self._receive(socket), self._keep_alive()
        self._tasks = [self._loop.create_task(task) for task in tasks]

    async def _connect(self, progress: Progress) -> Socket:
        place, settings = self._place, self._settings
        ticket = await place.send(calls.create_ticket(place, self._session_id, "vm.terminal"), progress=progress)
        self._ticket = ticket.ticket
        query = calls.AttachQuery(
            cols=self._size.cols,
            rows=self._size.rows,
            command=settings.command,
            persist=settings.persist,
            cancel_ttl_secs=settings.idle_seconds,
        )
        call = calls.attach(place, self._session_id, query)
        socket = await place.context.transport.open_socket(call, ticket.ticket, progress)
        self._connections += 1
        return socket

    async def _receive(self, socket: Socket) -> None:
        """Receive the output of one connection after the other, until the terminal has ended."""
        error: ArkerError | None = self._named(ConfigurationError("the terminal was closed"))
        try:
            while True:
                began = clock.now()
                closed, brought = await self._receive_all(socket)
                if closed.code == calls.ENDED:
                    self.exit_code, error = calls.exit_code_in(closed.reason), None
                    return
                if closed.code not in calls.LOST or not self._settings.persist:
                    error = self._ended_badly(closed)
                    return
                self._socket = None
                logger.info("the connection to a terminal of the VM %s was lost: connecting again", self._shown_vm())
                short = clock.now() - began < _SHORT
                if brought or not short:
                    self._lost_at, self._pause = None, _FIRST_PAUSE
                socket = await self._connect_again(at_once=not short)
                await self.incoming.put(Replayed(connections=self._connections))
                if self._killing:  # before the input that waits, which the program may not take
                    with contextlib.suppress(ExchangeFailedError):  # the next step finds out
                        await socket.send_text(calls.KILL)
                self._socket = socket
                self.incoming.notify()
        except ArkerError as raised:
            error = self._named(raised)
        finally:
            self.incoming.end(error)
            await carry_through(socket.close())  # which has a bound

    async def _receive_all(self, socket: Socket) -> tuple[Closed, bool]:
        """Receive from one connection until its end. Returns that, and whether there was any output."""
        brought = False
        while isinstance(received := await socket.receive(), bytes):
            if received:
                brought = True
                await self.incoming.put(received)
        return received, brought

    async def _connect_again(self, *, at_once: bool) -> Socket:
        """Connect again, within the time that has been running since the last connection that was of use.

        A server may accept every connection only to end it, so being connected alone does not count.
        """
        if self._lost_at is None:
            self._lost_at = clock.now()
        elif self._too_late():
            message = "the connection to the terminal was lost, and so was each one that was made again"
            raise NetworkError(message, outcome="applied")
        if not at_once:
            await self._sleep()
        while True:
            try:
                return await self._connect(self.progress())
            except ArkerError as error:
                if not _may_pass(error) or self._too_late():
                    raise
            await self._sleep()

    def _too_late(self) -> bool:
        assert self._lost_at is not None
        return clock.now() - self._lost_at + self._pause > self._settings.reconnect

    async def _sleep(self) -> None:
        """Pause before the next attempt, each time for longer."""
        await clock.sleep(self._pause * (1 + random.random()) / 2)  # noqa: S311 - spreads attempts, decides no secret
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    async def _keep_alive(self) -> None:
        while True:
            await clock.sleep(_KEEPALIVE)
            socket = self._socket
            if socket is not None:
                try:
                    async with self._turn:
                        await socket.send_text(calls.PING)
                except ExchangeFailedError:  # the task that receives finds out
                    continue

    # --- what is sent ---------------------------------------------------------------------------------------------

    async def write(self, data: bytes) -> None:
        """Send input, in its order."""
        view = memoryview(data)
        async with self._turn:
            for start in range(0, len(view), _FRAME):
                piece = view[start : start + _FRAME]
                await self._send(lambda socket, piece=piece: socket.send(piece))  # type: ignore[misc]

    async def resize(self, cols: int, rows: int) -> None:
        """Change the size, also of the connections to come."""
        self._size = Size(cols, rows)
        async with self._turn:
            await self._send(lambda socket: socket.send_text(calls.resizing(cols, rows)), repeatable=True)

    async def kill(self) -> None:
        """Have the program killed. It does not wait for input that the program does not take."""
        # First: while there is no room for output, a lost connection is not noticed, and so not made again.
        self._killing = True
        self.incoming.expect_end()
        await self._send(lambda socket: socket.send_text(calls.KILL), repeatable=True)

    async def _send(self, send: Callable[[Socket], Awaitable[None]], *, repeatable: bool = False) -> None:
        """Send something as soon as there is a connection; again by the next one if it is repeatable and was lost."""
        while True:
            if self.incoming.over:
                raise self._ended()
            socket = self._socket
            if socket is None or not socket.usable:
                await self.incoming.change()
                continue
            try:
                await send(socket)
            except ExchangeFailedError as failed:
                if repeatable or not failed.delivered or self.incoming.over:
                    continue
                lost = NetworkError(failed.message)
                raise self._named(lost, outcome="unknown") from None
            return

    # --- its end --------------------------------------------------------------------------------------------------

    async def wait(self) -> int | None:
        """Wait until the terminal has ended, and return the exit code of its program."""
        while not self.incoming.over:
            await self.incoming.change()
        if self.incoming.error is not None:
            raise self.incoming.error.with_traceback(None)
        return self.exit_code

    async def close(self) -> None:
        """End the connection. A terminal that persists goes on."""
        if self._loop.is_closed():  # it has ended with its loop
            self._tasks = []
            return
        self.check_loop()
        self.incoming.end(self._named(ConfigurationError("the terminal was closed")))
        for task in self._tasks:
            await end(task)
        if self._socket is not None:  # a task that is cancelled before its first step has not closed it
            await carry_through(self._socket.close())
        self._tasks = []  # the tracebacks of cancelled ones have this object

    def progress(self) -> Progress:
        """Return the state of a new operation on the terminal."""
        return Progress("vm.terminal", vm_id=self._place.vm_id, redact=self._place.redact)

    def _ended(self) -> ArkerError:
        if self.incoming.error is not None:
            return self.incoming.error.with_traceback(None)
        return self._named(TerminalClosedError("the terminal has ended", close_code=calls.ENDED))

    def _ended_badly(self, closed: Closed) -> ArkerError:
        if closed.code in calls.LOST:
            message = "the connection to the terminal was lost, and it does not persist"
            return self._named(TerminalClosedError(message), outcome="applied")
        # The server may have repeated the ticket.
        reason = self._place.redact(Redactor(self._ticket)(closed.reason)) or "without a reason"
        message = f"the server closed the terminal: {reason} (code {closed.code})"
        return self._named(TerminalClosedError(message, close_code=closed.code), outcome="applied")

    def _named(self, error: ArkerError, **facts: str) -> ArkerError:
        error.operation = "vm.terminal"
        error.vm_id = self._shown_vm()
        error.session_id = self._place.redact(self._session_id)
        return error.with_context(**facts)

    def _shown_vm(self) -> str:
        return self._place.redact(self._place.vm_id)


def _may_pass(error: ArkerError) -> bool:
    """Return whether a terminal may be reached later that cannot be reached now."""
    if isinstance(error, (NetworkError, ResourceBusyError)):  # the server may not know yet that the connection is lost
        return True
    if not isinstance(error, ApiError) or isinstance(error, QuotaExceededError):
        return False
    return is_retryable_answer(error.status, error.code, error.message)


__all__ = ["Connection", "Settings", "Size"]
