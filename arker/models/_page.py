"""The base of all pages of lists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Page(ABC, Generic[T]):
    """One page of a list: a sequence of items. There are more pages while ``next_cursor`` is set."""

    __slots__ = ()

    @abstractmethod
    def _items(self) -> tuple[T, ...]: ...

    def __iter__(self) -> Iterator[T]:
        return iter(self._items())

    def __len__(self) -> int:
        return len(self._items())

    def __bool__(self) -> bool:
        return bool(self._items())

    def __getitem__(self, index: int) -> T:
        return self._items()[index]
