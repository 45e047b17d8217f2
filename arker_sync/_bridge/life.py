"""The life of an `arker_sync.Arker`: its share in the loop, its closing, and its handling of SIGTERM."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

import arker
from arker._basics.typing import Self
from arker_sync._bridge.facade import Facade

# The first client loads what its calls go through, which brings asyncio along.


class Life(Facade):
    """A client of blocking callers."""

    def __init__(self, client: arker.AsyncArker) -> None:
        """Wrap an async client, and own it."""
        from arker_sync._bridge.lease import Lease

        super().__init__(client, Lease(client))
        self._heeds = False

    def _enter(self) -> Self:
        from arker_sync._bridge import termination

        work: Any = self._async.__aenter__()
        try:
            self._lease.call(work, undo=lambda client: client.aclose())
        except BaseException:
            self._lease.release()
            raise
        self._heeds = termination.enter()
        return self

    def _exit(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if sys.is_finalizing():
            return
        from arker_sync._bridge import termination

        try:
            try:
                self._lease.call(self._async.__aexit__(kind, error, trace), raised=kind)
            finally:
                self._lease.release()
        finally:
            heeds, self._heeds = self._heeds, False
            termination.leave(heeds)

    def _close(self) -> None:
        if sys.is_finalizing():
            return  # it was closed before, at the interpreter's exit
        try:
            self._lease.call(self._async.aclose())
        finally:
            self._lease.release()


__all__ = ["Life"]
