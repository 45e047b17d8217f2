"""`AsyncWatch`: the changes in a directory of a VM."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import arker
from arker import _paths, entries
from arker._basics.guidance import instead, no_end, no_plain_block
from arker._basics.pickling import refuse_to_be_pickled
from arker._basics.shown import shown
from arker._basics.typing import Self
from arker._context import Place
from arker._paths.watching import Watcher
from arker._tasks.cleanup import clean_up
from arker.errors import ConfigurationError
from arker.models import _checks as check


class AsyncWatch:
    """An iterator over the changes in a directory. `AsyncFiles.watch` returns one; ``async with`` begins and ends it.

        async with vm.files.watch("/srv/inbox") as changes:
            async for event in changes:
                print(event.kind, event.path)

    The iteration ends when the directory is removed. If something else ends what watches it in the VM, such as a signal
    to all processes, `RunFailedError` is raised: changes after that are not told. Only one task at a time may use it.
    """

    __reduce__ = refuse_to_be_pickled
    if not TYPE_CHECKING:
        __getattr__ = instead
        __enter__ = no_plain_block
        __exit__ = no_end

    def __init__(self, place: Place, path: arker.transfer.RemotePath, recursive: bool, interval: float) -> None:
        """Initialize the watch. Use `AsyncFiles.watch` to get one."""
        self._place = place
        self._path = path
        self._where = _paths.checks.check_path(path)
        self._recursive = check.check_boolean("recursive", recursive)
        self._interval = check.check_seconds("interval", interval)
        self._watcher: Watcher | None = None
        self._entered = False

    def __repr__(self) -> str:
        return shown(self._place.redact(f"<AsyncWatch of {str(self._path)!r} in VM {self._place.vm_id}>"))

    @property
    def path(self) -> str:
        """The path of the directory in the VM."""
        return str(self._path)

    @property
    def method(self) -> entries.WatchMethod:
        """The source of the events: ``inotify`` or ``polling``; known once it has begun."""
        return self._begun().method

    def _begun(self) -> Watcher:
        if self._watcher is None:
            problem = f"the watch of {self._place.redact(self.path)} is not open: use it as a context manager, once"
            raise ConfigurationError(problem, operation="vm.files.watch")
        return self._watcher

    async def __aenter__(self) -> Self:
        if self._entered:
            self._watcher = None
            self._begun()
        self._entered = True
        self._watcher = await _paths.watching.begin(
            self._place, self._where, self.path, recursive=self._recursive, interval=self._interval
        )
        self._place.context.blocks.enter(self, lambda: f"the watch of {self.path}", self._end)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        blocks = self._place.context.blocks
        if not blocks.left(self):
            await clean_up(blocks.until_left(self), cut=False)
        else:
            await clean_up(self._end())

    async def _end(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            await watcher.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> entries.FileEvent:
        event = await self._begun().next()
        if event is None:
            raise StopAsyncIteration
        return event


__all__ = ["AsyncWatch"]
