"""Iterators over lists: each page is requested when it is needed, and only one is held."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from arker.errors import BadCursorError, BadReplyError, BadRequestError
from arker.items import SteppedItems
from arker.models import _checks as check

T = TypeVar("T")
P = TypeVar("P", bound="Cursored")


class Pages(SteppedItems[T]):
    """The items of a list that goes on while its pages have a ``next_cursor`` (contract, section 3).

    One that has raised and is asked for the next item again asks for the same page.
    """

    def __init__(
        self, fetch: Callable[[str | None], Awaitable[tuple[tuple[T, ...], str | None]]], cursor: str | None
    ) -> None:
        """Make an iterator.

        Args:
            fetch: Returns the items of a cursor's page, and the cursor of the next one.
            cursor: The cursor to begin at; None for the beginning.
        """
        super().__init__()
        self._fetch = fetch
        self._cursor = cursor
        self._good = cursor
        self._size = 0
        self._given = 0
        self._pages = 0
        self._mark: str | None = cursor

    def _take(self) -> T:
        self._given += 1
        return super()._take()

    async def _step(self) -> None:
        # A page may be empty although the list goes on: what was filtered out is gone through on the server.
        try:
            items, following = await self._fetch(self._cursor)
        except BadRequestError as error:
            if self._pages == 0:
                raise  # it may be the filters, or a cursor of the caller's
            raise BadCursorError.of(
                error, resume_cursor=self._good, items_given=self._given, items_of_page=self._size
            ) from None
        self._check(following)
        self._found.extend(items)
        self._size = len(items)
        self._pages += 1
        self._good, self._cursor, self._over = self._cursor, following or None, not following

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
