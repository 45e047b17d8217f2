"""A client's share in the loop of this process, for its calls, iterators and callbacks."""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast

from arker._tasks import hurry
from arker._tasks.cleanup import CLEANUP_SECONDS
from arker.errors import ConfigurationError
from arker_sync._bridge import loop
from arker_sync._bridge.call import Call, Seat, closed
from arker_sync._bridge.loop import Running
from arker_sync._bridge.share import ClientShare, drop
from arker_sync._bridge.worker import Worker, current_worker

if TYPE_CHECKING:
    from arker import AsyncArker

T = TypeVar("T")
R = TypeVar("R")


class Lease:
    """The state that an `arker_sync.Arker` and its handles share. Its methods may be called from any thread."""

    def __init__(self, client: AsyncArker) -> None:
        """Make a lease. The first call starts the loop.

        Args:
            client: The async client. It is closed when the lease is garbage.
        """
        self._state = ClientShare(client)
        finalizer = weakref.finalize(self, drop, self._state)
        finalizer.atexit = False  # at exit no thread can be started any more: see `close_all`

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
        if raised is not None and issubclass(raised, GeneratorExit) and self.called_by_loop():
            # The garbage collector, in the loop's thread, destroys a generator amid a block, which has to end.
            self.begin(work)
            return cast("T", None)
        begun: list[bool] = []
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
        begun: list[bool],
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
        if self.called_by_loop():
            raise ConfigurationError(
                "a blocking call was made in the thread that has to carry it out (by a logging handler, perhaps); "
                "it would wait for itself"
            )
        worker: Worker | None = None
        call = Call(work, running, seat)
        try:
            begun.append(True)
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
                    if isinstance(error, asyncio.CancelledError) and (worker is None or not worker.has_raised(call)):
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
                call.let_go()

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

    def begin(self, work: Coroutine[Any, Any, object]) -> None:
        """Start a coroutine without waiting for it. Any thread and the garbage collector may call this."""
        state, running = self._state, self._state.running
        if running is None or running.generation is not loop.generation():
            work.close()
            return

        async def alone() -> None:
            try:
                await work
            finally:
                state.calls.discard(call)

        call = Call(alone(), running)
        state.calls.add(call)  # so that the loop is not left before it has ended
        try:
            call.start_alone()
        except ConfigurationError:
            state.calls.discard(call)
            work.close()

    def called_by_loop(self) -> bool:
        """Return whether this is the loop's thread: it cannot wait for what it has to do itself."""
        running = self._state.running
        return running is not None and threading.get_ident() == running.thread.ident

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


def _call_once(work: Coroutine[Any, Any, T], begun: list[bool]) -> T:
    """Run a call of a closed client, which fails with the client's own error."""
    running = loop.enter()
    try:
        call = Call(work, running)
        begun.append(True)
        call.start()
        call.wait()
        try:
            return call.result()
        finally:
            call.let_go()
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


__all__ = ["Lease"]
