"""The event loop of this process that works for blocking callers.

One thread with one loop serves all clients of a process; anyio's portal runs it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import define, field

from arker._tasks import clock
from arker._tasks.process import hand_in, keep_in_child

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortalProvider

T = TypeVar("T")

_LOOK: Final = 0.25
"""Seconds between two checks for a signal: one that comes just before the main thread blocks does not wake it."""
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


def take(queue: SimpleQueue[T]) -> T:
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
        outcome = take(self._outcome)
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
    """A loop that uses the machine's clock, and that goes on whatever a task of one client raises."""

    _is_to_stop = False

    def time(self) -> float:
        return clock.now()

    def stop(self) -> None:
        self._is_to_stop = True
        super().stop()

    def run_forever(self) -> None:
        self._is_to_stop = False
        while True:
            try:
                return super().run_forever()
            except (SystemExit, KeyboardInterrupt):
                # A caller's file object has raised it, say. The task has it for its own caller, whom it may end.
                if self._is_to_stop:
                    return None


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

__all__ = ["Running", "enter", "generation", "leave", "take"]
