"""Opaque cursors: signed positions in one particular list. A made-up cursor is refused (contract, section 3)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import pybase64

from arker.emulator.server.errors import ServiceError


class _Numbered(Protocol):
    @property
    def seq(self) -> int: ...


T = TypeVar("T", bound=_Numbered)


class Cursors:
    """The encoder and decoder of cursors."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hashlib.sha256(b"cursors" + secret).digest()

    def _sign(self, listing: str, position: str) -> bytes:
        return hmac.digest(self._secret, f"{position} {listing}".encode(), "sha256")[:12]

    def encode(self, listing: str, position: int) -> str:
        text = str(position)
        return pybase64.urlsafe_b64encode(self._sign(listing, text) + text.encode()).decode().rstrip("=")

    def decode(self, listing: str, cursor: str | None) -> int | None:
        if cursor is None:
            return None
        try:
            raw = pybase64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
            position = raw[12:].decode("ascii")
            if hmac.compare_digest(raw[:12], self._sign(listing, position)):
                return int(position)
        except ValueError:
            pass
        raise ServiceError("bad_request", "cursor: expected a next_cursor of this list")

    def page(
        self, listing: str, newest_first: Iterable[T], *, cursor: str | None, limit: int, wanted: Callable[[T], bool]
    ) -> tuple[list[T], str | None]:
        """Return the items after the cursor, at most ``limit``, and the cursor of the next page."""
        below = self.decode(listing, cursor)
        items: list[T] = []
        for item in newest_first:
            if (below is not None and item.seq >= below) or not wanted(item):
                continue
            if len(items) == limit:
                return items, self.encode(listing, items[-1].seq)
            items.append(item)
        return items, None


__all__ = ["Cursors"]
