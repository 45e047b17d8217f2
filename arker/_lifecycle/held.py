"""Resources of a VM that are held for a block or until they are closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from arker._basics.guidance import instead, no_end, no_plain_block
from arker._context import Place
from arker._lifecycle.creation import Deleted, remove
from arker._protocol.request import Call
from arker._tasks.cleanup import clean_up
from arker.errors import ConfigurationError, NotFoundError
from arker.errors.api import is_surely_gone

T = TypeVar("T")
D = TypeVar("D", bound=Deleted)


class Held(ABC, Generic[T]):
    """A resource that is opened once, and closed at the latest when its block or its client ends.

    Attributes:
        _noun: The name of its kind.
        _maker: The call that makes another one.
    """

    if not TYPE_CHECKING:
        __getattr__ = instead
        __enter__ = no_plain_block
        __exit__ = no_end

    _noun: str
    _maker: str

    def __init__(self, place: Place) -> None:
        self._place = place
        self._data: T | None = None
        self._opening = self._closed = False

    @abstractmethod
    def _name(self) -> str:
        """Return the resource's name, for the log."""

    @abstractmethod
    async def _make(self) -> None:
        """Create the resource, and store the server's reply in ``_data``."""

    @abstractmethod
    def _removal(self) -> Coroutine[Any, Any, Deleted]:
        """Delete the resource, within a bound."""

    def _opened(self) -> T:
        if self._data is None:
            raise ConfigurationError(f"the {self._noun} is not open: use it as a context manager, or call its open()")
        return self._data

    async def _open_once(self) -> None:
        if self._closed:
            raise ConfigurationError(f"the {self._noun} is closed; {self._maker}() gives a new one")
        if self._opening:
            raise ConfigurationError(f"the {self._noun} is being opened by another caller")
        if self._data is None:
            self._opening = True
            try:
                await self._make()
            finally:
                self._opening = False

    async def _close(self, call: Call[D], gone: D, deadline: float | None) -> D:
        """Send the deletion, unless one has succeeded. What is gone already, with its VM or by itself, is closed."""
        if self._closed:
            return gone
        try:
            answer = await self._place.send(call, deadline=deadline)
        except NotFoundError as error:
            if not is_surely_gone(error):
                raise
            answer = gone
        self._closed = self._closed or answer.deleted
        return answer

    def _enter_block(self) -> None:
        self._place.context.blocks.enter(self, self._name, self._leave_early)

    async def _leave_block(self, *, raising: bool) -> None:
        blocks = self._place.context.blocks
        if not blocks.left(self):
            await clean_up(blocks.until_left(self), cut=False)
        elif self._data is not None and not self._closed:
            # The deletion must happen under cancellation too, but must not block its caller indefinitely.
            await clean_up(self._remove(raising=raising))

    async def _leave_early(self) -> None:
        """Delete the resource because its client is being closed."""
        if not self._closed:
            await self._remove(raising=True)

    async def _remove(self, *, raising: bool) -> None:
        await remove(self._removal(), self._name(), raising=raising)


__all__ = ["Held"]
