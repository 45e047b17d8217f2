"""Work inside other work of a fleet: it cannot wait for the end of what it is a part of, nor for the VMs of that."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from arker._tasks.running_loop import running_loop
from arker.errors import ConfigurationError

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


_STUCK: Final = (
    "each VM of the fleet has an item whose function waits for a VM of the same fleet: use the VM that the function is "
    "given, or another fleet"
)


class Loans:
    """The VMs that workers hold, and the workers that are part of the reason why others wait for a VM."""

    def __init__(self) -> None:
        self._holders: dict[object, asyncio.Task[Any] | None] = {}
        self._waits: list[tuple[weakref.ref[asyncio.Task[Any]], ...]] = []

    def begin(self, vm: object) -> None:
        """Note that the running task has the VM."""
        self._holders[vm] = asyncio.current_task()

    def end(self, vm: object) -> None:
        """Note that no task has the VM."""
        self._holders.pop(vm, None)

    def move(self, vm: object, new: object | None) -> None:
        """Note that who had the VM has another one in its place, or None."""
        holder = self._holders.pop(vm, None)
        if new is not None and holder is not None:
            self._holders[new] = holder

    @contextmanager
    def waiting(self, vms: Collection[object]) -> Generator[None, None, None]:
        """Note that the running task waits for one of the VMs.

        A worker waits, too, if its function has begun the work that waits.

        Raises:
            ConfigurationError: Workers that wait hold all of them.
        """
        around = _around.get()
        if len(around) < 2:  # no worker's function has begun it
            yield
            return
        self._waits.append(around)
        try:
            waiting = {each() for wait in self._waits for each in wait} - {None}
            if vms and all(self._holders.get(vm) in waiting for vm in vms):
                raise ConfigurationError(_STUCK)
            yield
        finally:
            self._waits.remove(around)


__all__ = ["Loans", "begin", "others"]
