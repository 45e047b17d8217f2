"""A client's share in the loop of this process, for its calls, iterators and callbacks."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from arker._tasks import clock, hurry
from arker._tasks.cleanup import CLEANUP_SECONDS
from arker._tasks.process import hand_in, keep_in_child
from arker.errors import ConfigurationError
from arker_sync._bridge import loop
from arker_sync._bridge.call import Call, Seat, closed
from arker_sync._bridge.loop import Running
from arker_sync._bridge.worker import Worker, current_worker

if TYPE_CHECKING:
    from arker import AsyncArker

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger("arker")

_PATIENCE: Final = 5.0
"""Seconds that running calls have to end when their client is closed."""


class _State:
    """The state of a lease, separate from it, so that it can be cleaned up when the lease is garbage."""

    def __init__(self, client: AsyncArker) -> None:
        self.client = client
        self.lock = threading.Lock()
        self.running: Running | None = None
        self.calls: set[Call[Any]] = set()
        self.released = False
        _states.add(self)

    def take(self) -> Running:
        """Return the running loop, and hold a share in it."""
        with self.lock:
            running = self.running
            if running is None or running.generation is not loop.generation():
                running = self.running = loop.enter()
                _open.add(self)
            return running

    def release(self) -> None:
        """Give the share back when the running calls have ended."""
        with self.lock:
            running, self.running = self.running, None
            self.released = True
            _open.discard(self)
        if running is None or running.generation is not loop.generation():
            return
        if current_worker() is not None:
            # A function of a fleet has closed the client: the fleet's caller waits for this function to end.
            try:
                threading.Thread(target=self._leave, args=(running,), name="arker-close", daemon=True).start()
                return
            except RuntimeError:  # the interpreter is about to end
                pass
        self._leave(running)

    def _leave(self, running: Running) -> None:
        self._settle(running)
        loop.leave(running)

    def _settle(self, running: Running) -> None:
        tasks = [call.task for call in tuple(self.calls) if call.task is not None]
        if tasks and running.thread.ident != threading.get_ident():
            call = Call(_end_all(tasks), running)
            call.start()
            call.wait()


async def _end_all(tasks: list[Any]) -> None:
    """Wait for tasks to end, and cancel them after `_PATIENCE`."""
    late = await hurry.wait(tasks, _PATIENCE)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=hurry.bound(_PATIENCE) + 0.1)


class Lease:
    """The state that an `arker_sync.Arker` and its handles share. Its methods may be called from any thread."""

    def __init__(self, client: AsyncArker) -> None:
        """Make a lease. The first call starts the loop.

        Args:
            client: The async client. It is closed when the lease is garbage.
        """
        self._state = _State(client)
        finalizer = weakref.finalize(self, _drop, self._state)
        finalizer.atexit = False  # at exit no thread can be started any more: see `_close_all`

    def call(
        self,
        work: Coroutine[Any, Any, T],
        *,
        undo: Callable[[T], Coroutine[Any, Any, object]] | None = None,
        leave: Callable[[], Coroutine[Any, Any, object]] | None = None,
        seat: Seat | None = None,
        raised: type[BaseException] | None = None,
    ) -> T:
        """Run a coroutine in the loop, and wait for it.

        An interrupt of the caller (Ctrl-C, an exit by a signal's handler) cancels the work, and goes on when the work
        has cleaned up.

        Args:
            work: The coroutine.
            undo: Makes a coroutine that undoes the work if it ended just before it was
                interrupted, because its result is then lost.
            leave: Makes a coroutine that leaves the block that the work enters or leaves, if that is interrupted at
                any moment: no other step removes the block's resources.
            seat: Shared by the calls for the same work.
            raised: The kind of exception by which a block is left, if the call leaves one.
        """
        begun: list[Call[T]] = []
        try:
            if not _is_interrupted(raised):
                return self._call(work, begun, undo=undo, leave=leave, seat=seat)
            with hurry.heeded(ending=raised is not None):
                return self._call(work, begun, undo=undo, leave=leave, seat=seat)
        except BaseException as error:
            if not begun:
                work.close()  # otherwise Python warns of it
                if leave is not None and not isinstance(error, Exception):
                    self._leave(leave)
            raise

    def _leave(self, leave: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Leave a block for a caller that was interrupted before the work could begin."""
        running = self._state.running
        if running is not None and running.generation is loop.generation():  # otherwise nothing was entered
            with hurry.heeded(ending=True):
                _bounded(leave(), running)

    def _call(
        self,
        work: Coroutine[Any, Any, T],
        begun: list[Call[T]],
        *,
        undo: Callable[[T], Coroutine[Any, Any, object]] | None,
        leave: Callable[[], Coroutine[Any, Any, object]] | None,
        seat: Seat | None,
    ) -> T:
        if sys.is_finalizing():
            # The loop's thread has stopped, and no other can be started.
            raise ConfigurationError("the interpreter is ending: no call can be made any more")
        state = self._state
        running = state.running
        if running is None or running.generation is not loop.generation():
            if state.released:
                return _call_once(work, begun)
            running = state.take()
        if threading.get_ident() == running.thread.ident:
            raise ConfigurationError(
                "a blocking call was made in the thread that has to carry it out (by a logging handler, perhaps); "
                "it would wait for itself"
            )
        worker: Worker | None = None
        call = Call(work, running, seat)
        try:
            begun.append(call)
            worker = current_worker()
            if worker is not None:
                worker.begin(call)
            state.calls.add(call)
            call.start()
            call.wait()
            # In here, so that an interrupt that comes with the result does not lose it.
            self._forget(call, worker)
            return call.result()
        except BaseException as error:
            try:
                if call.ended_with(error):
                    if hurry.asked() and isinstance(error, asyncio.CancelledError):
                        raise KeyboardInterrupt from None  # a clean-up that was cut off
                    if isinstance(error, asyncio.CancelledError) and (worker is None or not worker.cancelled):
                        # Only the end of the client cancels a call whose caller goes on.
                        raise closed() from None
                else:
                    with hurry.heeded(ending=True):
                        done = call.abandon()
                        if leave is not None:
                            _bounded(leave(), running)
                        elif done and undo is not None:
                            _bounded(undo(call.result()), running)
                raise
            finally:
                self._forget(call, worker)

    def _forget(self, call: Call[Any], worker: Worker | None) -> None:
        self._state.calls.discard(call)
        if worker is not None:
            worker.end(call)

    def make(
        self,
        work: Coroutine[Any, Any, T],
        handle: Callable[[T, Lease], R],
        *,
        undo: Callable[[T], Coroutine[Any, Any, object]],
    ) -> R:
        """Run a coroutine that makes something, and return a handle on it.

        Args:
            work: The coroutine.
            handle: Makes the handle of what was made and this lease.
            undo: Makes a coroutine that undoes the work if the caller is interrupted before it has the handle.
        """
        made: list[T] = []
        try:
            made.append(self.call(work, undo=undo))
            return handle(made[0], self)
        except BaseException:
            if made:
                self._leave(lambda: undo(made[0]))
            raise

    def step(self, work: Coroutine[Any, Any, T]) -> T:
        """Call one step of an iterator."""
        try:
            return self.call(work)
        except StopAsyncIteration:
            raise StopIteration from None

    def iterate(self, items: AsyncIterator[T], wrap: Callable[[T], R]) -> BlockingIterator[T, R]:
        """Return an iterator over the items of an async one.

        Args:
            items: The async iterator.
            wrap: Turns an item into the caller's version of it.
        """
        return BlockingIterator(self, items, wrap)

    def begin(self, work: Coroutine[Any, Any, object]) -> None:
        """Start a coroutine without waiting for it. Any thread and the garbage collector may call this."""
        running = self._state.running
        if running is None or running.generation is not loop.generation():
            work.close()
            return
        try:
            Call(work, running).start()
        except ConfigurationError:
            pass

    def release(self) -> None:
        """Give up the closed client's share. A later call fails with the client's own error."""
        self._state.release()


def _is_interrupted(raised: type[BaseException] | None) -> bool:
    """Return whether the main thread ends something because of an interrupt or of the program's exit."""
    if threading.current_thread() is not threading.main_thread():
        return False
    for kind in (raised, sys.exc_info()[0]):
        if kind is not None and issubclass(kind, (KeyboardInterrupt, SystemExit)):
            return True
    hurry.work_goes_on()
    return False


def _call_once(work: Coroutine[Any, Any, T], begun: list[Call[T]]) -> T:
    """Run a call of a closed client, which fails with the client's own error."""
    running = loop.enter()
    try:
        call = Call(work, running)
        begun.append(call)
        call.start()
        call.wait()
        return call.result()
    finally:
        loop.leave(running)


def _bounded(work: Coroutine[Any, Any, object], running: Running) -> None:
    """Run a clean-up within a bound for an interrupted caller. The client logs failures."""

    async def within() -> None:
        await asyncio.wait_for(work, CLEANUP_SECONDS)

    call = Call(within(), running)
    try:
        call.start()
        call.wait()
    except BaseException:
        call.abandon()
        raise


class BlockingIterator(Iterator[R], Generic[T, R]):
    """An iterator over an async one: each step waits for the next item.

    An iterator that is not exhausted is closed by `close`, or when it is garbage.
    """

    def __init__(self, lease: Lease, items: AsyncIterator[T], wrap: Callable[[T], R]) -> None:
        self._lease = lease
        self._items = items
        self._wrap = wrap
        self._lock = threading.Lock()  # several threads may share it
        self._seat = Seat()
        self._over = False

    def __iter__(self) -> BlockingIterator[T, R]:
        return self

    def __next__(self) -> R:
        with self._lock:
            if self._over:
                raise StopIteration
            # After an error the iterator goes on or not, as the async one does.
            found = self._lease.call(_next(self._items), seat=self._seat)
            if not found:
                self._over = True
                raise StopIteration
            return self._wrap(found[0])

    def close(self) -> None:
        """Close the iterator early: its work is ended, and no more items follow."""
        with self._lock:
            if not self._over:
                self._over = True
                close = getattr(self._items, "aclose", None)
                if close is not None:
                    self._lease.call(close())

    def __del__(self) -> None:
        if not self.__dict__.get("_over", True):
            close = getattr(self._items, "aclose", None)
            if close is not None:
                self._lease.begin(close())


async def _next(items: AsyncIterator[T]) -> tuple[T] | tuple[()]:
    try:
        return (await items.__anext__(),)
    except StopAsyncIteration:
        return ()


# --- clients that are never closed ------------------------------------------------------------------------------------

_states: weakref.WeakSet[_State] = weakref.WeakSet()
_open: set[_State] = set()
"""The leases with a share in the loop."""
_dropping: set[threading.Thread] = set()
"""The threads in which clients of garbage leases are being closed."""
_LAST_WAIT: Final = 2.0
"""Seconds that these have left at the interpreter's exit."""


def _close_all() -> None:
    """Close the open clients at the interpreter's exit, in this thread, since no other can be started."""
    until = clock.now() + _LAST_WAIT
    for thread in tuple(_dropping):
        thread.join(max(0.0, until - clock.now()))
    # An uncaught exception leaves a trace there; the VMs of such a program may be reaped.
    in_order = getattr(sys, "last_value", None) is None
    for state in tuple(_open):
        running = state.running
        if running is None or running.generation is not loop.generation():
            continue
        try:
            for call in tuple(state.calls):
                call.mute()
            state.client._close_outside(in_order=in_order)  # pyright: ignore[reportPrivateUsage]
            for call in tuple(state.calls):
                call.cancel()
            state.release()
        except Exception:
            logger.debug("a client could not be closed at exit", exc_info=True)


def _drop(state: _State) -> None:
    """Close the client of a garbage lease, without waiting for anything."""
    running = state.running
    if running is None or running.generation is not loop.generation():
        return

    def end() -> None:
        try:
            call = Call(state.client.aclose(), running)
            call.start()
            call.wait()
        except Exception:
            logger.debug("an unreferenced client could not be closed", exc_info=True)
        state.release()
        _dropping.discard(thread)

    # The garbage collector may be at work in any thread, the loop's own included.
    thread = threading.Thread(target=end, name="arker-close", daemon=True)
    _dropping.add(thread)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is about to end
        _dropping.discard(thread)


def _after_fork_in_child() -> None:
    _open.clear()
    _dropping.clear()
    for state in list(_states):
        state.lock = threading.Lock()
        state.calls = set()
        keep_in_child(state.running)
        state.running = None


hand_in("blocking clients", in_child=_after_fork_in_child, at_exit=_close_all)

__all__ = ["BlockingIterator", "Lease"]
