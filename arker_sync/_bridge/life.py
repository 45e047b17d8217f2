"""The life of an `arker_sync.Arker`: its share in the loop, its closing, and its handling of SIGTERM."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import arker
from arker._basics.arguments import BLOCKING_LOCAL, refuse
from arker._basics.typing import Self
from arker_sync import _bridge
from arker_sync._bridge.facade import Facade


class Life(Facade):
    """A client of blocking callers."""

    def __init__(self, client: arker.AsyncArker) -> None:
        """Wrap an async client, and own it."""
        super().__init__(client, _bridge.lease.Lease(client))
        self._heeds = False

    @staticmethod
    def _check_options(options: Mapping[str, object]) -> None:
        """Refuse options of `Arker.local` that only the async client takes."""
        refuse("local", BLOCKING_LOCAL, options)

    def _enter(self) -> Self:
        work: Any = self._async.__aenter__()
        try:
            self._lease.call(work, undo=lambda client: client.aclose())
        except BaseException:
            self._lease.release()
            raise
        self._heeds = _bridge.termination.enter()
        return self

    def _exit(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if sys.is_finalizing():
            return
        try:
            try:
                self._lease.call(self._async.__aexit__(kind, error, trace), raised=kind)
            finally:
                self._lease.release()
        finally:
            heeds, self._heeds = self._heeds, False
            _bridge.termination.leave(heeds)

    def _close(self) -> None:
        if sys.is_finalizing():
            return  # it was closed before, at the interpreter's exit
        try:
            self._lease.call(self._async.aclose())
        finally:
            self._lease.release()


__all__ = ["Life"]
