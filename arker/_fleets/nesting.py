"""Work inside other work of a fleet: it cannot wait for the end of what it is a part of."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Final

from arker._tasks.running_loop import running_loop

_around: Final[ContextVar[tuple[weakref.ref[asyncio.Task[Any]], ...]]] = ContextVar("arker_fleet_work", default=())
"""The workers that the running task is a part of. Tasks that it begins inherit them."""


def begin() -> None:
    """Note that the running task is a worker."""
    task = asyncio.current_task()
    assert task is not None
    # A strong reference would keep the task, with what it has failed with, for as long as a connection that it opened.
    _around.set((*_around.get(), weakref.ref(task)))


def others(tasks: Iterable[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    """Return the tasks that the running one can wait for: it is no part of them, and they are in its loop.

    In a child of ``os.fork()``, those of another loop go on in its parent.
    """
    around = {asyncio.current_task(), *(each() for each in _around.get())}
    loop = running_loop()
    return {task for task in tasks if task not in around and task.get_loop() is loop}


__all__ = ["begin", "others"]
