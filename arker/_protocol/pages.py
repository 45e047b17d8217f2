"""Iterators over lists: each page is requested when it is needed, and only one is held."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Generic, NoReturn, Protocol, TypeVar

from arker.errors import BadCursorError, BadReplyError, BadRequestError
from arker.models import _checks as check

T = TypeVar("T")
P = TypeVar("P", bound="Cursored")


class Pages(AsyncIterator[T], Generic[T]):
    """The items of a list that goes on while its pages have a ``next_cursor`` (contract, section 3).

    It is not a generator, so that an abandoned one leaves nothing behind, and one that has raised can be asked for the
    next item again: it then asks for the same page.
    """

    def __init__(
        self, fetch: Callable[[str | None], Awaitable[tuple[tuple[T, ...], str | None]]], cursor: str | None
    ) -> None:
        """Make an iterator.

        Args:
            fetch: Returns the items of a cursor's page, and the cursor of the next one.
            cursor: The cursor to begin at; None for the beginning.
        """
        self._fetch = fetch
        self._cursor = cursor
        self._good = cursor
        self._more = True
        self._busy = False
        self._items: tuple[T, ...] = ()
        self._index = 0
        self._given = 0
        self._pages = 0
        self._mark: str | None = cursor

    def __aiter__(self) -> Pages[T]:
        return self

    if not TYPE_CHECKING:

        def __iter__(self) -> NoReturn:
            raise TypeError("the list is read from the server as it goes on: use `async for`, in a coroutine")

    async def __anext__(self) -> T:
        if self._busy:
            # Two concurrent steps would return the same page twice.
            raise RuntimeError("the list is being asked for its next item by another caller")
        self._busy = True
        try:
            # A page may be empty although the list goes on: what was filtered out is gone through on the server.
            while self._index == len(self._items):
                if not self._more:
                    raise StopAsyncIteration
                await self._turn()
        finally:
            self._busy = False
        item = self._items[self._index]
        self._index += 1
        self._given += 1
        return item

    async def _turn(self) -> None:
        try:
            items, following = await self._fetch(self._cursor)
        except BadRequestError as error:
            if self._pages == 0:
                raise  # it may be the filters, or a cursor of the caller's
            raise BadCursorError.of(
                error, resume_cursor=self._good, items_given=self._given, items_of_page=len(self._items)
            ) from None
        self._check(following)
        self._items, self._index = items, 0
        self._pages += 1
        self._good, self._cursor, self._more = self._cursor, following or None, bool(following)

    def _check(self, following: str | None) -> None:
        """Refuse a list whose cursors form a cycle of any length. It remembers one cursor (Brent's algorithm)."""
        if not following:
            return
        if not check.is_string(following) or not following.strip():
            raise BadReplyError("the reply has a next_cursor that cannot be sent", path="$.next_cursor")
        if following in (self._cursor, self._mark):
            raise BadReplyError(
                f"the list does not go on: a cursor came a second time, after {self._given} items",
                path="$.next_cursor",
            )
        if self._pages & (self._pages - 1) == 0:
            self._mark = following


def pages_of(
    fetch: Callable[[str | None, int | None], Awaitable[P]],
    items: Callable[[P], tuple[T, ...]],
    cursor: str | None,
    page_size: int | None,
) -> Pages[T]:
    """Return an iterator over a list of the API.

    Args:
        fetch: Returns the page of a cursor, with so many items at the most.
        items: Returns the items of a page.
        cursor: The caller's cursor to begin at.
        page_size: The caller's number of items per page.
    """
    size = check.page_size(page_size)

    async def page(cursor: str | None) -> tuple[tuple[T, ...], str | None]:
        found = await fetch(cursor, size)
        return items(found), next_cursor(found)

    return Pages(page, check.query_text("cursor", cursor))


def next_cursor(page: Cursored) -> str | None:
    """Return the cursor of the next page. A malformed one must not look like the end of the list.

    Raises:
        BadReplyError: The page's cursor is not a string.
    """
    if "next_cursor" in page.misfits:
        raise BadReplyError("the reply has a next_cursor that cannot be sent", path="$.next_cursor")
    return page.next_cursor


class Cursored(Protocol):
    """A page of a list that may have a next page."""

    @property
    def misfits(self) -> Mapping[str, object]:
        """The fields that did not fit."""
        ...

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page."""
        ...


__all__ = ["Pages", "next_cursor", "pages_of"]
