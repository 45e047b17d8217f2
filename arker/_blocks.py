"""What a client has going: closing it ends its calls and leaves its blocks first, so that nothing stays behind."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

from attrs import frozen

from arker._attempts import Attempt, Progress
from arker._cleanup import CLEANUP_SECONDS, carry_through
from arker.errors import ConfigurationError

logger = logging.getLogger("arker")

_STEP: Final = 0.01
_GRACE: Final = 0.05
"""Seconds in which a caller whose call was ended, maybe in another thread, begins to delete what it has made."""


@frozen(eq=False)
class _Open:
    """A block that is open.

    Attributes:
        name: Tells what it is, for the log.
        leave: Removes what is in it, as its end would; called in the block's own loop.
        abandon: Notes what could not be removed.
        loop: The loop that it is in.
    """

    name: Callable[[], str]
    leave: Callable[[], Coroutine[Any, Any, object]]
    abandon: Callable[[], None]
    loop: asyncio.AbstractEventLoop


class Blocks:
    """The open blocks of a client and its calls, whatever their loops.

    Attributes:
        closing: Whether the client is being closed, so that nothing is to be begun but what removes something.
        forks: Forks that are on their way; they undo themselves when the client is being closed.
        calls: Calls that are on their way.
    """

    def __init__(self) -> None:
        self.forks: set[object] = set()
        self.calls: dict[Attempt, Progress] = {}
        self._open: dict[object, _Open] = {}
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._joined = 0
        self.closing = False

    def enter(
        self,
        block: object,
        name: Callable[[], str],
        leave: Callable[[], Coroutine[Any, Any, object]],
        abandon: Callable[[], None] = lambda: None,
    ) -> None:
        """Note that a block is open, until `left` is called with it."""
        self._open[block] = _Open(name, leave, abandon, asyncio.get_running_loop())

    def left(self, block: object) -> bool:
        """Note that a block comes to its end; False if closing the client leaves it, or has left it: await `close`."""
        return self._open.pop(block, None) is not None or not self.closing

    def refuse(self) -> None:
        """Raise if nothing is to be begun any more."""
        if self.closing:
            raise ConfigurationError("the client is closed")

    def begin(self, call: Attempt, progress: Progress) -> None:
        """Note that a call is on its way, until it is taken out of `calls`; raise if it must not begin any more."""
        if self.closing and not _is_essential(call, progress):
            raise progress.complete(ConfigurationError("the client is closed"))
        call.task = task = asyncio.current_task()
        if task is not None and sys.version_info >= (3, 11):
            call.asked_to_end = task.cancelling()
        self.calls[call] = progress

    def abandon(self) -> None:
        """Give up what is open, where no loop runs any more."""
        self.closing = True
        names: list[str] = []
        while self._open:
            _, each = self._open.popitem()
            names.append(each.name())
            each.abandon()
        _warn(names)

    async def close(self) -> None:
        """End all calls and leave all that is open, in `CLEANUP_SECONDS` at most; name what cannot be removed in time.

        What a caller removes when its call ends that way, such as a VM, is waited for.
        """
        with self._lock:
            first, self.closing = not self.closing, True
        if first:
            await carry_through(self._leave_all_and_settle())
            return
        # Another task, maybe in another thread, is at it, and may even be one that is waited for.
        self._joined += 1
        for _ in range(round(CLEANUP_SECONDS / _STEP)):
            if self._done.is_set():
                return
            await asyncio.sleep(_STEP)

    async def _leave_all_and_settle(self) -> None:
        await asyncio.sleep(0)  # a task that has just got a VM opens its block now
        deadline = asyncio.get_running_loop().time() + CLEANUP_SECONDS
        try:
            await self._leave_all(deadline)
        finally:
            self._done.set()
        if self._joined:
            # Whoever waited for this may have other VMs to delete.
            await self._settle(deadline)

    async def _leave_all(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        tasks: dict[asyncio.Future[object], _Open] = {}
        late: list[_Open] = []
        ended_some = False
        try:
            while True:
                while self._open:
                    _, each = self._open.popitem()
                    task = _begin(each)
                    if task is None:
                        late.append(each)
                    else:
                        tasks[task] = each
                # A fleet that is left begins nothing else in its VMs when what it is doing ends.
                await asyncio.sleep(0)
                ended_some |= self._end_calls()
                if not (self._open or tasks or self.forks or self._are_calls_on_their_way()):
                    break
                patience = deadline - loop.time()
                if patience <= 0:
                    break
                if tasks:
                    await asyncio.wait(tasks, timeout=min(patience, _STEP), return_when=asyncio.FIRST_COMPLETED)
                    late += _ended_badly(tasks)
                else:
                    await asyncio.sleep(min(patience, _STEP))
            if ended_some:
                await self._settle(deadline)
        finally:
            for task in tasks:
                task.add_done_callback(_retrieve)
                task.cancel()
            late += [*tasks.values(), *self._open.values()]
            self._open.clear()
            for each in late:
                each.abandon()
            _warn([*(each.name() for each in late), *map(repr, self.forks)])

    async def _settle(self, deadline: float) -> None:
        """Wait until no call has been on its way for `_GRACE` seconds."""
        loop = asyncio.get_running_loop()
        quiet_since = loop.time()
        while loop.time() < min(deadline, quiet_since + _GRACE):
            await asyncio.sleep(_STEP)
            self._end_calls()
            if self._are_calls_on_their_way() or self.forks:
                quiet_since = loop.time()

    def _end_calls(self) -> bool:
        """End the calls that remove nothing; tell whether there were any."""
        here = asyncio.get_running_loop()
        found = False
        for call, progress in list(self.calls.items()):
            if call.closed or call.task is None or _is_essential(call, progress):
                continue
            found = call.closed = True
            loop = call.task.get_loop()
            if loop is here:
                self._end_call(call)
                continue
            try:
                loop.call_soon_threadsafe(self._end_call, call)
            except RuntimeError:  # its loop has ended, and the call with it
                self.calls.pop(call, None)
        return found

    def _end_call(self, call: Attempt) -> None:
        if call in self.calls and call.task is not None:
            call.task.cancel()

    def _are_calls_on_their_way(self) -> bool:
        return any(call.task is not None and call.task.get_loop().is_running() for call in list(self.calls))


def _is_essential(call: Attempt, progress: Progress) -> bool:
    """Whether a call goes on while its client is being closed: it removes something, or tells what is to be removed."""
    return call.method == "DELETE" or (progress.makes and progress.may_have_begun)


def was_closed(call: Attempt) -> bool:
    """Whether the cancellation that a call has met was the end of its client, and nobody else's."""
    if not call.closed or call.task is None:
        return False
    call.closed = False
    if sys.version_info >= (3, 11):
        return call.task.uncancel() <= call.asked_to_end
    return True


def _ended_badly(tasks: dict[asyncio.Future[object], _Open]) -> list[_Open]:
    """Take what has ended out of the tasks, and give what of it has failed."""
    ended = [task for task in tasks if task.done()]
    blocks = [(task, tasks.pop(task)) for task in ended]
    return [each for task, each in blocks if task.cancelled() or task.exception() is not None]


def _retrieve(task: asyncio.Future[object]) -> None:
    if not task.cancelled():
        task.exception()  # else the loop reports it as never retrieved


def _begin(each: _Open) -> asyncio.Future[object] | None:
    """Start leaving a block, in its own loop; None where that does not run any more."""
    here = asyncio.get_running_loop()
    if each.loop is here:
        return here.create_task(each.leave())
    if each.loop.is_closed() or not each.loop.is_running():
        return None
    return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(each.leave(), each.loop), loop=here)


def _warn(names: list[str]) -> None:
    if names:
        logger.warning("the client was closed before all could be removed, which may still exist: %s", ", ".join(names))


__all__ = ["Blocks", "was_closed"]
