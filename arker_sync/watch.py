# Generated from arker/watch.py by "nox -s facade": change that file, not this one.
"""`Watch`: the changes in a directory of a VM."""

from __future__ import annotations

from types import TracebackType

import arker
from arker import entries
from arker._basics.typing import Self
from arker_sync._bridge.facade import Facade


class Watch(Facade):
    """An iterator over the changes in a directory. `Files.watch` returns one; ``with`` begins and ends it.

        with vm.files.watch("/srv/inbox") as changes:
            for event in changes:
                print(event.kind, event.path)

    The iteration ends when the directory is removed. If something else ends what watches it in the VM, such as a signal
    to all processes, `RunFailedError` is raised: changes after that are not told. Only one thread at a time may use it.
    """

    _async: arker.AsyncWatch

    @property
    def path(self) -> str:
        """The path of the directory in the VM."""
        return self._async.path

    @property
    def method(self) -> entries.WatchMethod:
        """The source of the events: ``inotify`` or ``polling``; known once it has begun."""
        return self._async.method

    def __enter__(self) -> Self:
        work = self._async.__aenter__()
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        work = self._async.__aexit__(exc_type, exc, traceback)
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None), raised=exc_type)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> entries.FileEvent:
        work = self._async.__anext__()
        return self._lease.step(work)


__all__ = ["Watch"]
