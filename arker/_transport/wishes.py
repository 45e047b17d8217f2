"""What a hook raises to end the program: `SystemExit` and `KeyboardInterrupt`."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any, Final, NoReturn

from attrs import field, frozen

from arker._tasks.cleanup import APART


@frozen
class _Wish:
    """One that was raised in an event loop.

    Attributes:
        task: Returns the task that it was raised in; None if the loop itself raises it.
        tasks: The tasks that there were. When the loop has ended by it, they are cancelled, and clean up.
    """

    task: weakref.ref[asyncio.Task[Any]] | None
    tasks: weakref.WeakSet[asyncio.Task[Any]] = field(factory=lambda: weakref.WeakSet(asyncio.all_tasks()))

    def holds_off(self, task: asyncio.Task[Any] | None, *, apart: bool) -> bool:
        """Return whether another one would cut off the clean-up. A task's second one replaces its first."""
        again = self.task is not None and self.task() is task and not apart
        return not again and any(not each.done() for each in self.tasks)


_latest: Final = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Wish]()


def grant(wish: BaseException) -> None:
    """Raise it, or have it end the loop, so that no reply is lost by it.

    Many requests at once have many replies, and clean-ups have some, too. A hook that raises for each of them ends the
    program by the first: by the next one the loop would end again, amid the clean-up of other tasks.
    """
    loop, task, apart = asyncio.get_running_loop(), asyncio.current_task(), APART.get()
    latest = _latest.get(loop)
    if latest is not None and latest.holds_off(task, apart=apart):
        return
    _latest[loop] = _Wish(None if apart or task is None else weakref.ref(task))
    if not apart:
        raise wish
    # The caller of such a task could neither get nor remove what it has made, such as a VM.
    loop.call_soon(_raise, wish)


def _raise(error: BaseException) -> NoReturn:
    """Raise an error in the event loop itself, which ends by it, as by Ctrl-C. `asyncio.run` then cancels all tasks."""
    raise error


__all__ = ["grant"]
