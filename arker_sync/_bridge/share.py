"""A client's share in the loop of this process, and its end: also of clients that are never closed."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from arker._tasks import clock, hurry
from arker._tasks.process import hand_in, keep_in_child
from arker_sync._bridge import loop
from arker_sync._bridge.call import Call
from arker_sync._bridge.loop import Running
from arker_sync._bridge.worker import current_worker

if TYPE_CHECKING:
    from arker import AsyncArker

logger = logging.getLogger("arker")

_PATIENCE: Final = 5.0
"""Seconds that running calls have to end when their client is closed."""
_states: weakref.WeakSet[ClientShare] = weakref.WeakSet()
_open: set[ClientShare] = set()
"""The leases with a share in the loop."""
_dropping: set[threading.Thread] = set()
"""The threads in which clients of garbage leases are being closed."""
_LAST_WAIT: Final = 2.0
"""Seconds that these have left at the interpreter's exit."""


class ClientShare:
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
        if current_worker() is not None or running.thread.ident == threading.get_ident():
            # A function of a fleet has closed the client: the fleet's caller waits for this function to end. Or the
            # garbage collector has, in the loop's thread, which cannot end itself.
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
        calls = tuple(self.calls)
        if calls and running.thread.ident != threading.get_ident():
            call = Call(_end_all(calls), running)
            call.start()
            call.wait()


async def _end_all(calls: tuple[Call[Any], ...]) -> None:
    """Wait for the tasks of calls to end, and cancel them after `_PATIENCE`."""
    tasks = [call.task for call in calls if call.task is not None]
    late = await hurry.wait(tasks, _PATIENCE)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=hurry.bound(_PATIENCE) + 0.1)


# --- clients that are never closed ------------------------------------------------------------------------------------


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


def drop(state: ClientShare) -> None:
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

__all__ = ["ClientShare", "drop"]
