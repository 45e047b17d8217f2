"""The event loop of this process that works for blocking callers, and single calls into it.

One thread with one loop serves all clients of a process; anyio's portal runs it. A call makes a task there and waits
for the task itself, so that an interrupted caller can cancel it and wait for its clean-up.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from attrs import define, field

from arker._tasks import clock, hurry
from arker._tasks.process import hand_in, keep_in_child
from arker.errors import ConfigurationError

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortalProvider

T = TypeVar("T")

_STEP: Final = 0.02
"""Seconds between two checks of whether an interrupted caller's call has ended."""
_LOOK: Final = 0.25
"""Seconds between two checks for a signal: one that comes just before the main thread blocks does not wake it."""
CLEANUP_SECONDS: Final = 10.0
"""Bound on the time that an interrupted caller waits for the end of the work, in seconds."""
_PARK_SECONDS: Final = 1.0
"""Bound on the time that `os.fork()` waits until the loop stands still, in seconds."""


@define(eq=False)
class Running:
    """The loop while it has users.

    Attributes:
        loop: The loop.
        thread: The thread that it runs in.
        generation: The token of the process that it lives in; each ``os.fork()`` makes a new one.
    """

    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    generation: object


@define(eq=False)
class _Process:
    """The state of this process.

    Attributes:
        generation: A token that is different in each process made by ``os.fork()``.
        lock: Held while the loop is started or ended.
        provider: anyio's count of the loop's users; made at the first call.
        running: The loop, if it runs.
        users: The number of its users.
    """

    generation: object = field(factory=object)
    lock: threading.Lock = field(factory=threading.Lock)
    provider: BlockingPortalProvider | None = None
    running: Running | None = None
    users: int = 0

    def begin_anew(self) -> None:
        """Reset in a child of ``os.fork()``: the thread, lock holders and waiters belong to the parent."""
        keep_in_child((self.generation, self.provider, self.running))
        self.generation = object()
        self.lock = threading.Lock()
        self.provider, self.running, self.users = None, None, 0


_process: Final = _Process()


def generation() -> object:
    """Return a token that tells whether an object was made in this process or in a parent of it."""
    return _process.generation


def enter() -> Running:
    """Return the running loop, and start it if necessary. Each `enter` needs one `leave`."""
    if _process.running is not None or threading.current_thread() is not threading.main_thread():
        return _enter()
    # An interrupt amid the start of the loop's thread would leave it half started, and the program would hang.
    entrance = _Entrance()
    try:
        try:
            # No daemon: it imports modules, and an interpreter that ends amid that would hang at their locks.
            threading.Thread(target=entrance.work, name="arker-start").start()
        except RuntimeError:  # the interpreter is about to end, and no thread can be started
            return _enter()
        return entrance.wait()
    except BaseException:
        entrance.abandon()
        raise


def _get(queue: SimpleQueue[T]) -> T:
    """Return what comes next. The main thread, which signals come to, checks for them meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        return queue.get()
    while True:
        try:
            return queue.get(timeout=_LOOK)
        except Empty:
            pass


class _Entrance:
    """An `enter` in a separate thread, whose caller may give up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcome: SimpleQueue[Running | BaseException] = SimpleQueue()
        self._given_up = False
        self._entered: Running | None = None

    def work(self) -> None:
        try:
            entered = _enter()
        except BaseException as error:
            self._outcome.put(error)
            return
        with self._lock:
            self._entered = entered
            given_up = self._given_up
        if given_up:
            leave(entered)
        else:
            self._outcome.put(entered)

    def wait(self) -> Running:
        outcome = _get(self._outcome)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def abandon(self) -> None:
        """Leave the loop as soon as it is entered."""
        with self._lock:
            self._given_up, entered = True, self._entered
        if entered is not None:
            leave(entered)


def _enter() -> Running:
    process = _process
    with process.lock:
        if process.provider is None:
            # Importing it takes its time, and programs may import this package without using it.
            from anyio.from_thread import BlockingPortalProvider

            options = {"loop_factory": _loop}
            process.provider = BlockingPortalProvider("asyncio", options)
        portal = process.provider.__enter__()
        process.users += 1
        if process.running is None:
            loop, thread = portal.call(_whereabouts)
            process.running = Running(loop, thread, process.generation)
        return process.running


if sys.platform == "win32":
    _StandardLoop = asyncio.ProactorEventLoop
else:
    _StandardLoop = asyncio.SelectorEventLoop


class _Loop(_StandardLoop):
    """A loop that uses the machine's clock."""

    def time(self) -> float:
        return clock.now()


def _loop() -> asyncio.AbstractEventLoop:
    """Make the loop to run, whatever event loop policy the program has set."""
    return _Loop()


def leave(running: Running) -> None:
    """Undo an `enter`. The last one ends the loop and its thread."""
    process = _process
    if running.generation is not process.generation:
        return  # it was left behind in another process
    with process.lock:
        process.users -= 1
        if process.users == 0:
            process.running = None
        assert process.provider is not None
        process.provider.__exit__(None, None, None)


def _whereabouts() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    return asyncio.get_running_loop(), threading.current_thread()


class Errand:
    """Work that a call has for its caller's thread, which waits anyway."""

    __slots__ = ("_do", "_refuse")

    def __init__(self, do: Callable[[], object], refuse: Callable[[], object] | None = None) -> None:
        """Make an errand.

        Args:
            do: The work; must not raise an `Exception`.
            refuse: Called instead when the caller has been interrupted.
        """
        self._do = do
        self._refuse = refuse

    def do(self) -> None:
        self._do()

    def refuse(self) -> None:
        if self._refuse is not None:
            self._refuse()


class Seat:
    """The place of a caller during successive calls for the same work, such as the steps of an iterator.

    Errands of the work go to the step that is being waited for, even if an earlier step began them.
    """

    __slots__ = ("call",)

    def __init__(self) -> None:
        self.call: Call[Any] | None = None


_current: ContextVar[Call[Any] | Seat] = ContextVar("arker_sync_call")


def current_call() -> Call[Any] | None:
    """Return the call that the running task belongs to."""
    current = _current.get(None)
    return current.call if isinstance(current, Seat) else current


class Call(Generic[T]):
    """A call into the loop. Its caller waits in `wait`, and meanwhile runs the errands that come from the loop."""

    __slots__ = ("_abandoned", "_inbox", "_lock", "_over", "_running", "_seat", "_task", "_work")

    def __init__(self, work: Coroutine[Any, Any, T], running: Running, seat: Seat | None = None) -> None:
        self._work = work
        self._seat = seat
        self._running = running
        self._task: asyncio.Task[T] | None = None
        self._inbox: SimpleQueue[asyncio.Task[T] | Errand | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._over = False
        self._abandoned = False

    @property
    def task(self) -> asyncio.Task[T] | None:
        """The work's task, once it has begun."""
        return self._task

    def start(self) -> None:
        """Start the work in the loop, with the caller's context variables."""
        try:
            self._running.loop.call_soon_threadsafe(self._begin)
        except RuntimeError:  # the loop was closed
            self._work.close()
            raise closed() from None

    def _begin(self) -> None:
        if self._abandoned:
            return
        if self._seat is None:
            _current.set(self)
        else:
            self._seat.call = self
            _current.set(self._seat)
        task = self._task = self._running.loop.create_task(self._work)
        task.add_done_callback(self._inbox.put)

    def wait(self) -> None:
        """Wait until the work has ended."""
        while True:
            item = _get(self._inbox)
            if not isinstance(item, Errand):
                break
            item.do()
            if self._running.generation is not _process.generation:
                raise ConfigurationError("this process was forked in the middle of a call, which goes on in its parent")
        with self._lock:
            self._over = True
        # An errand may have come meanwhile, from a task that outlives the call.
        while not self._inbox.empty():
            item = self._inbox.get()
            if isinstance(item, Errand):
                item.do()

    def result(self) -> T:
        """Return the work's result, or raise its error."""
        if self._task is None:
            raise asyncio.CancelledError
        return self._task.result()

    def ended_with(self, error: BaseException) -> bool:
        """Return whether the work itself ended with an exception."""
        task = self._task
        if task is None or not task.done():
            return isinstance(error, asyncio.CancelledError) and task is None
        if task.cancelled():
            return isinstance(error, asyncio.CancelledError)
        return task.exception() is error

    def post(self, errand: Errand) -> bool:
        """Run something in the caller's thread, from the loop. Return False when the caller no longer waits."""
        with self._lock:
            if not self._over:
                self._inbox.put(errand)
            return not self._over

    def cancel(self) -> None:
        """Cancel the work, from any thread. Its waiters go on when it has ended."""
        try:
            self._running.loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:  # the loop was closed, and so nothing goes on there
            self._inbox.put(None)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif not self._abandoned:
            self._abandoned = True
            self._work.close()
            self._inbox.put(None)

    def mute(self) -> None:
        """Stop waking the caller: the interpreter is ending, and the caller's thread must not raise before that."""
        try:
            self._running.loop.call_soon_threadsafe(self._mute)
        except RuntimeError:  # the loop was closed
            pass

    def _mute(self) -> None:
        if self._task is not None:
            self._task.remove_done_callback(self._inbox.put)
        with self._lock:
            self._over = True

    def abandon(self) -> bool:
        """Cancel the work because its caller goes, and wait for its clean-up, `CLEANUP_SECONDS` at most.

        Returns:
            Whether the work was done before it could be cancelled, so that its result is lost.
        """
        if self._running.generation is not _process.generation:
            return False
        self.cancel()
        until = clock.now() + CLEANUP_SECONDS
        # What tells the end may have been taken out of the inbox by the very step that was interrupted.
        while not self._has_ended():
            if hurry.asked():  # the clean-up itself ends in time, and what it has not removed is named
                until = min(until, clock.now() + hurry.bound(CLEANUP_SECONDS) + hurry.GRACE)
            try:
                item = self._inbox.get(timeout=min(_STEP, max(until - clock.now(), 0.0)))
            except Empty:
                if clock.now() >= until:
                    return False
                continue
            if isinstance(item, Errand):
                item.refuse()
            elif item is None:
                break
        with self._lock:
            self._over = True
        task = self._task
        return task is not None and task.done() and not task.cancelled() and task.exception() is None

    def _has_ended(self) -> bool:
        return self._task.done() if self._task is not None else self._abandoned


def closed() -> ConfigurationError:
    """Return the error of a call that begins or ends after its client was closed."""
    return ConfigurationError("the client is closed")


# --- os.fork() --------------------------------------------------------------------------------------------------------

_parked: dict[int, threading.Event] = {}
"""By thread, since several may fork: resumes the loop."""


def _before_fork() -> None:
    """Pause the loop, so that the child inherits none of its locks as held."""
    running = _process.running
    if running is None or threading.get_ident() == running.thread.ident:
        return
    parked, go_on = threading.Event(), threading.Event()
    try:
        running.loop.call_soon_threadsafe(_park, parked, go_on)
    except RuntimeError:
        return
    _parked[threading.get_ident()] = go_on
    parked.wait(_PARK_SECONDS)


def _park(parked: threading.Event, go_on: threading.Event) -> None:
    """Hold the loop's thread here until the process has forked."""
    parked.set()
    go_on.wait(_PARK_SECONDS * 10)


def _after_fork_in_parent() -> None:
    go_on = _parked.pop(threading.get_ident(), None)
    if go_on is not None:
        go_on.set()


def _after_fork_in_child() -> None:
    _parked.clear()
    _process.begin_anew()


hand_in("blocking loop", before_fork=_before_fork, in_parent=_after_fork_in_parent, in_child=_after_fork_in_child)

__all__ = [
    "CLEANUP_SECONDS",
    "Call",
    "Errand",
    "Running",
    "Seat",
    "closed",
    "current_call",
    "enter",
    "generation",
    "leave",
]
