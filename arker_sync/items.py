# Generated from arker/items.py by "nox -s facade": change that file, not this one.
"""`Items`: what comes one by one, from lists of the server or from work that goes on."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Generic

import arker
from arker._basics.typing import Self
from arker.items import T_co
from arker_sync._bridge.iterating import BlockingIterator


class Items(BlockingIterator[T_co], Generic[T_co]):
    """An iterator that can be closed: over a fleet's outcomes, a run's output, a list's items, a directory's entries.

        with fleet.map(evaluate, programs) as outcomes:
            for outcome in outcomes:
                if outcome.ok:
                    break

    ``with`` closes it at the end of the block, and so does `contextlib.closing`. Without a block, `close` does.
    One that is used up needs no closing.
    """

    _async: arker.AsyncItems[Any]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T_co:
        return self._next()

    def close(self) -> None:
        """Close the iterator early: its work is ended, and no more items follow.

        Another thread that waits for the next item gets none: its iteration ends.
        """
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()


__all__ = ["Items"]
