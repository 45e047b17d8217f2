"""The ledger of idempotency keys (contract, section 3).

A key's scope is organisation, method and path. An entry stands for a run, a fork or an acknowledgement that was
accepted under the key; requests that are refused leave none. Nothing waits between finding no entry and making one, so
two requests that arrive together cannot both be first.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import orjson
from attrs import define, field

from arker.emulator.control.clock import Clock
from arker.emulator.server.errors import ServiceError

LIFETIME_MS: Final = 24 * 3600 * 1000
"""The lifetime of a key after its operation is complete."""

Scope: TypeAlias = tuple[str, str, str, str]
NOTHING: Final = object()
"""The value of a key under which nothing was made: the operation was only acknowledged."""


def fingerprint(body: dict[str, Any]) -> bytes:
    """Return a digest of the body's content, independent of the order of its members.

    How long it may wait is left out: a request that is repeated has fewer seconds left, and is the same.

    Raises:
        ServiceError: It is nested more deeply than any request.
    """
    try:
        asked = {name: value for name, value in body.items() if name != "queueing_timeout"}
        return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).digest()
    except orjson.JSONEncodeError:
        raise ServiceError("bad_request", "the body is nested too deeply") from None


@define(eq=False, kw_only=True)
class Entry:
    """An entry for one key.

    Attributes:
        digest: The request's fingerprint.
        subject: What to name in a conflict, such as ``run 01J…``.
        value: The record that came of it, once it is known.
        error: Why nothing came of it (the entry is then out of the ledger already, but others may be waiting).
        settled: Set when either is known.
        completed_ms: When its operation was complete; None until then.
    """

    digest: bytes
    subject: str
    value: Any = None
    error: ServiceError | None = None
    settled: asyncio.Event = field(factory=asyncio.Event)
    completed_ms: int | None = None

    async def outcome(self) -> Any:
        await self.settled.wait()
        if self.error is not None:
            raise self.error
        return self.value


class Ledger:
    """Entries by scope."""

    def __init__(self, clock: Clock, at_expiry: Callable[[Scope, Entry], None] | None = None) -> None:
        self._clock = clock
        self._at_expiry = at_expiry
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
        return self.enter(scope, Entry(digest=digest, subject=subject))

    def enter(self, scope: Scope, entry: Entry) -> Entry:
        """Enter what is known of a key."""
        self._entries[scope] = entry
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
        if entry.completed_ms is None:  # else an earlier server has noted it
            entry.completed_ms = self._clock.now_ms()
        self._expiries.append((entry.completed_ms + LIFETIME_MS, scope, entry))

    async def complete_after(self, scope: Scope, entry: Entry, done: asyncio.Event) -> None:
        """Wait for the end of an operation, and mark its entry as complete."""
        await done.wait()
        self.complete(scope, entry)

    def _purge(self) -> None:
        now = self._clock.now_ms()
        while self._expiries and self._expiries[0][0] <= now:
            _, scope, entry = self._expiries.popleft()
            if self._entries.get(scope) is entry:
                del self._entries[scope]
                if self._at_expiry is not None:
                    self._at_expiry(scope, entry)


__all__ = ["NOTHING", "Entry", "Ledger", "Scope", "fingerprint"]
