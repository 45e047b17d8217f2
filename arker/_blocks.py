"""What is open in a client's blocks: closing the client leaves them first, so that nothing stays behind."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

from attrs import frozen

from arker import _clock
from arker._cleanup import CLEANUP_SECONDS, carry_through
from arker._loop import running_loop
from arker.errors import ConfigurationError

logger = logging.getLogger("arker")

_STEP: Final = 0.01


@frozen(eq=False)
class _Open:
    """A block that is open.

    Attributes:
        what: What it is, for the log.
        leave: Removes what is in it, as its end would; called in the block's own loop.
        abandon: Notes what could not be removed.
        loop: The loop that it is in.
    """

    what: str
    leave: Callable[[], Coroutine[Any, Any, object]]
    abandon: Callable[[], None]
    loop: asyncio.AbstractEventLoop


class Blocks:
    """The open blocks of a client, whatever their loops.

    Attributes:
        closing: Whether the client is being closed, so that nothing is to be begun.
        forks: Forks that are on their way; they undo themselves when the client is being closed.
    """

    def __init__(self) -> None:
        self.forks: set[object] = set()
        self._open: dict[object, _Open] = {}
        self._done = threading.Event()
        self._lock = threading.Lock()
        self.closing = False

    def enter(
        self,
        block: object,
        what: str,
        leave: Callable[[], Coroutine[Any, Any, object]],
        abandon: Callable[[], None] = lambda: None,
    ) -> None:
        """Note that a block is open, until `left` is called with it."""
        self._open[block] = _Open(what, leave, abandon, running_loop())

    def left(self, block: object) -> bool:
        """Note that a block comes to its end; False if closing the client leaves it, or has left it: await `close`."""
        return self._open.pop(block, None) is not None or not self.closing

    def refuse(self) -> None:
        """Raise if nothing is to be begun any more."""
        if self.closing:
            raise ConfigurationError("the client is closed")

    def abandon(self) -> None:
        """Give up what is open, where no loop runs any more."""
        self.closing = True
        while self._open:
            _, each = self._open.popitem()
            each.abandon()

    async def close(self) -> None:
        """Leave all that is open, in `CLEANUP_SECONDS` at most; what cannot be removed in time is noted and named."""
        with self._lock:
            first, self.closing = not self.closing, True
        if first:
            try:
                await carry_through(self._leave_all())
            finally:
                self._done.set()
            return
        # Another task, maybe in another thread, is at it, and may even be one that is waited for.
        for _ in range(round(CLEANUP_SECONDS / _STEP)):
            if self._done.is_set():
                return
            await _clock.sleep(_STEP)

    async def _leave_all(self) -> None:
        tasks: dict[asyncio.Future[object], _Open] = {}
        late: list[_Open] = []
        await asyncio.sleep(0)  # a task that has just got a VM opens its block now
        deadline = _clock.now() + CLEANUP_SECONDS
        try:
            while self._open or tasks or self.forks:
                while self._open:
                    _, each = self._open.popitem()
                    task = _begin(each)
                    if task is None:
                        late.append(each)
                    else:
                        tasks[task] = each
                patience = deadline - _clock.now()
                if patience <= 0:
                    break
                if not tasks or self.forks:
                    await _clock.sleep(min(patience, _STEP))
                    continue
                await _clock.wait(tasks, patience, return_when=asyncio.FIRST_COMPLETED)
                late += _ended_badly(tasks)
        finally:
            for task in tasks:
                task.add_done_callback(_retrieve)
                task.cancel()
            late += [*tasks.values(), *self._open.values()]
            self._open.clear()
            for each in late:
                each.abandon()
            if late or self.forks:
                named = ", ".join([*(each.what for each in late), *map(repr, self.forks)])
                logger.warning("the client was closed before all could be removed, which may still exist: %s", named)


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
    here = running_loop()
    if each.loop is here:
        return here.create_task(each.leave())
    if each.loop.is_closed() or not each.loop.is_running():
        return None
    return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(each.leave(), each.loop), loop=here)


__all__ = ["Blocks"]
