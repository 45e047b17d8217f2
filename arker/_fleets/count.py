"""A fleet's progress, as it is told to the caller."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from arker.reports import FleetOperation, FleetProgress

if TYPE_CHECKING:
    from arker._transport.observer import Observer
    from arker.vm import AsyncVM


class Count:
    """A count of finished items, reported to the caller's progress function."""

    def __init__(
        self,
        members: Collection[AsyncVM],
        observer: Observer,
        operation: FleetOperation,
        total: int | None,
        progress: Callable[[FleetProgress], object] | None,
    ) -> None:
        self._members = members
        self._observer = observer
        self._operation: FleetOperation = operation
        self._progress = progress
        self.total = total
        self.done = 0
        self.failed = 0
        self.tell()

    def add(self, *, failed: bool = False) -> None:
        """Count one more finished item."""
        self.done += 1
        self.failed += failed
        self.tell()

    def end_at(self, total: int) -> None:
        """Note how many there are in total, if they were not counted before."""
        if self.total is None:
            self.total = total
            self.tell()

    def tell(self) -> None:
        if self._progress is None:
            return
        value = FleetProgress(
            operation=self._operation,
            done=self.done,
            failed=self.failed,
            total=self.total,
            vms=len(self._members),
        )
        self._observer.tell(f"progress of {self._operation}", self._progress, value)


__all__ = ["Count"]
