"""The ledger of idempotency keys (contract, section 3).

A key's scope is organisation, method and path. An entry stands for a run, a fork or an acknowledgement that was
accepted under the key; requests that are refused leave none. Nothing waits between finding no entry and making one, so
two requests that arrive together cannot both be first.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from typing import Any, Final, TypeAlias

import orjson
from attrs import define, field

from arker.emulator.control.clock import Clock
from arker.emulator.server.errors import ServiceError

LIFETIME_MS: Final = 24 * 3600 * 1000
"""The lifetime of a key after its operation is complete."""

Scope: TypeAlias = tuple[str, str, str, str]


def fingerprint(body: dict[str, Any]) -> bytes:
    """Return a digest of the body's content, independent of the order of its members."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()


@define(eq=False, kw_only=True)
class Entry:
    """An entry for one key.

    Attributes:
        digest: The request's fingerprint.
        subject: What to name in a conflict, such as ``run 01J…``.
        value: The record that came of it, once it is known.
        error: Why nothing came of it (the entry is then out of the ledger already, but others may be waiting).
        settled: Set when either is known.
    """

    digest: bytes
    subject: str
    value: Any = None
    error: ServiceError | None = None
    settled: asyncio.Event = field(factory=asyncio.Event)

    async def outcome(self) -> Any:
        await self.settled.wait()
        if self.error is not None:
            raise self.error
        return self.value


class Ledger:
    """Entries by scope."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[Scope, Entry] = {}
        self._expiries: deque[tuple[int, Scope, Entry]] = deque()

    def find(self, scope: Scope, digest: bytes, code: str) -> Entry | None:
        """Find the entry under this key; an error with this code when the key was used for another request."""
        self._purge()
        entry = self._entries.get(scope)
        if entry is not None and entry.digest != digest:
            message = f"this Idempotency-Key was used for another request, {entry.subject}"
            raise ServiceError(code, message, resource="vm" if code == "conflict" else None)
        return entry

    def open(self, scope: Scope, digest: bytes, subject: str) -> Entry:
        entry = self._entries[scope] = Entry(digest=digest, subject=subject)
        return entry

    def settle(self, entry: Entry, value: Any) -> None:
        """Record the value for the key. It need not be complete."""
        entry.value = value
        entry.settled.set()

    def refuse(self, scope: Scope, entry: Entry, error: ServiceError) -> None:
        """Free the key after a failure, so that a later attempt can succeed."""
        if self._entries.get(scope) is entry:
            del self._entries[scope]
        entry.error = error
        entry.settled.set()

    def complete(self, scope: Scope, entry: Entry) -> None:
        """Mark the entry as complete. Its lifetime starts now."""
        self._expiries.append((self._clock.now_ms() + LIFETIME_MS, scope, entry))

    def _purge(self) -> None:
        now = self._clock.now_ms()
        while self._expiries and self._expiries[0][0] <= now:
            _, scope, entry = self._expiries.popleft()
            if self._entries.get(scope) is entry:
                del self._entries[scope]


__all__ = ["Entry", "Ledger", "Scope", "fingerprint"]
