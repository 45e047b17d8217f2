"""The open blocks and calls of a client: closing it ends its calls and leaves its blocks first."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextvars import ContextVar
from operator import methodcaller
from typing import Any, Final

from attrs import frozen

from arker._basics.guidance import CLOSED
from arker._tasks import clock, hurry
from arker._tasks.cleanup import CLEANUP_SECONDS, carry_through, retrieve
from arker._tasks.process import lives
from arker._tasks.running_loop import running_loop
from arker._transport.attempts import Attempt, Progress
from arker.errors import ConfigurationError

logger = logging.getLogger("arker")

_STEP: Final = 0.01
_LOOKS: Final = 6
"""Checks, `_STEP` apart, within which a caller whose call has ended, maybe in another thread, begins to delete."""
CLEANING: Final[ContextVar[bool]] = ContextVar("arker_cleaning", default=False)
"""Whether a task is removing something, so that its calls may begin and go on while the client is being closed."""
_TURNS: Final = 8
"""Turns of the loop within which a task that has just got a VM, perhaps through `asyncio.wait_for`, opens its block."""


if sys.version_info >= (3, 11):
    # By its name: what nests event loops replaces the class of tasks.
    _times_asked_to_end: Final[Callable[[asyncio.Task[Any]], int]] = methodcaller("cancelling")
else:

    def _times_asked_to_end(task: asyncio.Task[Any]) -> int:
        return 0  # no task can tell


@frozen(eq=False)
class _Open:
    """An open block.

    Attributes:
        name: Returns its name, for the log.
        leave: Removes its content, as its end would; called in the block's own loop.
        abandon: Notes what could not be removed.
        loop: The loop that it is in.
    """

    name: Callable[[], str]
    leave: Callable[[], Coroutine[Any, Any, object]]
    abandon: Callable[[], None]
    loop: asyncio.AbstractEventLoop


class Blocks:
    """The open blocks and calls of a client, in all loops.

    Attributes:
        closing: Whether the client is being closed, so that only removals may begin.
        forks: Forks in progress; they undo themselves when the client is being closed.
        calls: Calls in progress.
    """

    def __init__(self, of_parent: Blocks | None = None) -> None:
        """Begin with no blocks.

        Args:
            of_parent: In a child of ``os.fork()``, those of its parent, which goes on in them.
        """
        self.forks: set[object] = set()
        self.calls: dict[Attempt, Progress] = {}
        self.closing = False
        self._open: dict[object, _Open] = {}
        self._leaving: dict[object, _Open] = {}
        self._process = os.getpid()
        self._elsewhere: dict[object, int] = {}  # with the ids of the processes that entered them
        if of_parent is not None:
            entered = dict.fromkeys([*of_parent._open, *of_parent._leaving], of_parent._process)
            self._elsewhere = {**of_parent._elsewhere, **entered}
        self._lock = threading.Lock()
        self._at_work = False
        self._over = threading.Event()

    def enter(
        self,
        block: object,
        name: Callable[[], str],
        leave: Callable[[], Coroutine[Any, Any, object]],
        abandon: Callable[[], None] = lambda: None,
    ) -> None:
        """Note that a block is open, until `left` is called with it."""
        self._elsewhere.pop(block, None)
        self._open[block] = _Open(name, leave, abandon, running_loop())

    def left(self, block: object) -> bool:
        """Note that a block ends. Return False if it is left elsewhere.

        Either closing the client leaves it, see `until_left`; or the process that entered it, which forked this one and
        still lives.
        """
        entered_by = self._elsewhere.pop(block, None)
        if entered_by is not None and lives(entered_by):
            return False
        return self._open.pop(block, None) is not None or not self.closing

    async def until_left(self, block: object) -> None:
        """Wait until closing the client has left a block or given it up."""
        await _polled(lambda: block not in self._leaving)

    async def refuse(self) -> None:
        """Raise if nothing may begin any more."""
        if self.closing:
            await asyncio.sleep(0)  # a caller who tries again and again must not keep the loop from closing the client
            raise ConfigurationError(CLOSED)

    async def refuse_call(self, call: Attempt, progress: Progress) -> None:
        """Raise if a call may not begin any more."""
        if not (CLEANING.get() or _is_essential(call, progress)):
            try:
                await self.refuse()
            except ConfigurationError as error:
                raise progress.complete(error) from None

    def begin(self, call: Attempt, progress: Progress) -> None:
        """Note that a call is in progress, until it is removed from `calls`."""
        try:
            call.task = task = asyncio.current_task()
        except RuntimeError:
            running_loop()  # raises what says more
            raise
        call.removes = CLEANING.get()
        if task is not None:
            call.asked_to_end = _times_asked_to_end(task)
        self.calls[call] = progress

    def abandon(self) -> None:
        """Give up the open blocks where no loop runs any more."""
        self.closing = True
        _give_up([self._leaving.pop(block) for block, _ in self._taken()])

    async def close(self) -> None:
        """End all calls and leave all open blocks, in `CLEANUP_SECONDS` at most; log what could not be removed in time.

        It waits for removals by callers whose calls end that way, such as the deletion of a VM.
        """
        with self._lock:
            mine = not (self._at_work or self._over.is_set())
            self._at_work, self.closing = self._at_work or mine, True
        if not mine:
            # Another task, maybe in another thread, is closing it.
            await _polled(self._over.is_set)
            return
        try:
            await carry_through(self._leave_all())
        finally:
            # Also if it has never begun, because its loop was just shut down: the next caller then does it.
            self._at_work = False

    async def _leave_all(self) -> None:
        deadline = clock.now() + CLEANUP_SECONDS
        tasks: dict[asyncio.Future[object], object] = {}
        late: list[_Open] = []
        looks = 0
        try:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            while True:
                for block, each in self._taken():
                    task = _begin(each)
                    if task is None:
                        late.append(self._leaving.pop(block))
                    else:
                        tasks[task] = block
                # A fleet that is being left begins nothing else in its VMs when its current work ends.
                await asyncio.sleep(0)
                self._end_calls()
                if self._open or tasks or self.forks or self._are_calls_on_their_way():
                    looks = _LOOKS
                # Count turns, not seconds: the tasks of a busy loop may get no turn within a time.
                if looks == 0:
                    break
                looks -= 1
                patience = min(hurry.bound(deadline - clock.now()), _STEP)
                if patience <= 0:
                    break
                if tasks:
                    await clock.wait(tasks, patience, return_when=asyncio.FIRST_COMPLETED)
                    late += self._ended_badly(tasks)
                else:
                    await clock.sleep(patience)
        finally:
            for task in tasks:
                task.add_done_callback(retrieve)
                task.cancel()
            forks = [repr(fork) for fork in list(self.forks)]
            # All waits end now, such as the wait for the next attempt of a deletion.
            self._end_calls(removing=True)
            for _ in self._taken():
                pass
            _give_up([*late, *self._leaving.values()], forks)
            self._leaving.clear()
            self._over.set()

    def _taken(self) -> Iterator[tuple[object, _Open]]:
        """Yield the open blocks one by one, each taken out first. Other threads may open and leave blocks meanwhile."""
        while self._open:
            for block in list(self._open):
                each = self._open.get(block)
                if each is None:
                    continue
                self._leaving[block] = each  # first, so that code which finds it taken out waits for it
                if self._open.pop(block, None) is None:
                    del self._leaving[block]
                else:
                    yield block, each

    def _ended_badly(self, tasks: dict[asyncio.Future[object], object]) -> list[_Open]:
        """Remove the ended tasks, and return the failed ones."""
        failed: list[_Open] = []
        for task in [task for task in tasks if task.done()]:
            each = self._leaving.pop(tasks.pop(task))
            if task.cancelled() or task.exception() is not None:
                failed.append(each)
        return failed

    def _end_calls(self, *, removing: bool = False) -> None:
        """End the calls that remove nothing, or all of them."""
        here = asyncio.get_running_loop()
        for call in list(self.calls):
            progress, task = self.calls.get(call), call.task
            if progress is None or call.ending or task is None:
                continue
            if not removing and _is_essential(call, progress):
                continue
            call.ending = True
            loop = task.get_loop()
            if loop is here:
                self._end_call(call)
                continue
            try:
                loop.call_soon_threadsafe(self._end_call, call)
            except RuntimeError:  # its loop has ended, and the call with it
                self.calls.pop(call, None)

    def _end_call(self, call: Attempt) -> None:
        """End a call, in its own loop."""
        task = call.task
        if call not in self.calls or task is None:
            return
        if sys.version_info < (3, 11):
            # Whether others have cancelled it as well cannot be told afterwards.
            if _is_being_cancelled(task) or (call.flow is not None and call.flow.endings):
                return
            task.get_loop().call_soon(_yield_to_others, call)  # before the task itself comes to know it
        call.closed = True
        task.cancel()

    def _are_calls_on_their_way(self) -> bool:
        tasks = [call.task for call in list(self.calls)]
        return any(task is not None and task.get_loop().is_running() for task in tasks)


async def _polled(is_over: Callable[[], bool]) -> None:
    """Poll a condition that another thread may fulfil, for `CLEANUP_SECONDS` at most."""
    end = clock.now() + CLEANUP_SECONDS
    while not is_over() and clock.now() < end and not hurry.expired():
        await clock.sleep(_STEP)


def _is_essential(call: Attempt, progress: Progress) -> bool:
    """Return whether a call goes on while its client closes.

    It does if it removes something, or if its reply names a new resource.
    """
    if call.removes or (progress.makes and progress.may_have_begun):
        return True
    return call.method == "DELETE" and call.request is not None  # a request through a tunnel is the caller's own


def _is_being_cancelled(task: asyncio.Task[Any]) -> bool:
    waiting: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)
    return bool(getattr(task, "_must_cancel", False)) or (waiting is not None and waiting.cancelled())


def _yield_to_others(call: Attempt) -> None:
    """Unmark a call as ended by the client's close if others have cancelled its task as well."""
    if getattr(call.task, "_must_cancel", False):
        call.closed = False


def was_closed(call: Attempt) -> bool:
    """Return whether only the client's close cancelled a call, and no other code."""
    if not call.closed or call.task is None:
        return False
    call.closed = False
    if sys.version_info >= (3, 11):
        return call.task.uncancel() <= call.asked_to_end
    return call.flow is None or call.flow.endings < 2


def _begin(each: _Open) -> asyncio.Future[object] | None:
    """Start leaving a block, in its own loop; None if that loop no longer runs."""
    here = running_loop()
    if each.loop is here:
        return here.create_task(each.leave())
    if each.loop.is_closed() or not each.loop.is_running():
        return None
    leaving = each.leave()
    try:
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(leaving, each.loop), loop=here)
    except RuntimeError:  # it has been closed at this very moment
        leaving.close()
        return None


def _give_up(blocks: list[_Open], forks: Sequence[str] = ()) -> None:
    """Abandon the blocks, and log the names of what could not be removed."""
    names = [*(each.name() for each in blocks), *forks]
    for each in blocks:
        each.abandon()
    if hurry.asked():
        hurry.left_behind(*names)
    elif names:
        logger.warning("the client was closed before all could be removed, which may still exist: %s", ", ".join(names))


__all__ = ["Blocks", "was_closed"]
