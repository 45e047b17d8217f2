"""Reading and checking of requests. Refused values are named by their field.

These checks are the server's own: it shares none with the client, which could otherwise be wrong in the same way.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
from aiohttp import web

from arker.emulator.server.errors import ServiceError, invalid
from arker.emulator.server.journal.trace import trace_of

PAGE_DEFAULT = 50
PAGE_MAXIMUM = 1000
SIZE_MAXIMUM = 2**31 - 1
"""The largest count of CPUs or MiB; more is a mistake."""
LARGE = 128 * 1024  # bytes from which work on a body is moved off the event loop

_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


async def read_object(request: web.Request) -> dict[str, Any]:
    """Read the body as a JSON object. An empty body is an empty object."""
    raw = await request.read()
    trace_of(request).note_body(raw)
    if not raw:
        return {}
    try:
        body: Any = orjson.loads(raw) if len(raw) < LARGE else await asyncio.to_thread(orjson.loads, raw)
    except orjson.JSONDecodeError as error:
        raise ServiceError("bad_request", f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise ServiceError("bad_request", "the body is not a JSON object")
    return body  # pyright: ignore[reportUnknownVariableType]


class Fields:
    """Typed access to the members of a JSON object. A null member counts as absent; an unknown one is ignored."""

    __slots__ = ("_members", "_where")

    def __init__(self, members: Mapping[str, Any], where: str = "") -> None:
        self._members = members
        self._where = where

    def name(self, key: str) -> str:
        return f"{self._where}{key}"

    def raw(self, key: str) -> Any:
        return self._members.get(key)

    def text(self, key: str, *, what: str = "a non-empty string without NUL") -> str | None:
        value = self._members.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise invalid(self.name(key), what)
        return value

    def required_text(self, key: str, *, what: str = "a non-empty string without NUL") -> str:
        value = self.text(key, what=what)
        if value is None:
            raise invalid(self.name(key), what)
        return value

    def boolean(self, key: str) -> bool | None:
        value = self._members.get(key)
        if value is not None and not isinstance(value, bool):
            raise invalid(self.name(key), "true or false")
        return value

    def integer(self, key: str, *, minimum: int, maximum: int | None = None) -> int | None:
        value = self._members.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise invalid(self.name(key), f"an integer of at least {minimum}")
        if maximum is not None and value > maximum:
            raise invalid(self.name(key), f"an integer of at most {maximum}")
        return value

    def required_integer(self, key: str, *, minimum: int, maximum: int | None = None) -> int:
        value = self.integer(key, minimum=minimum, maximum=maximum)
        if value is None:
            raise invalid(self.name(key), f"an integer of at least {minimum}")
        return value

    def seconds(self, key: str) -> float | None:
        value = self._members.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
            raise invalid(self.name(key), "a number of seconds above zero")
        return float(value)

    def object(self, key: str) -> Fields | None:
        value = self._members.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise invalid(self.name(key), "an object")
        return Fields(value, f"{self.name(key)}.")  # pyright: ignore[reportUnknownArgumentType]

    def items(self) -> list[tuple[str, Any]]:
        return list(self._members.items())


def sizes(fields: Fields) -> tuple[int | None, int | None, int | None]:
    """Return ``vcpu_count``, ``memory_mib`` and ``disk_mib``, as forks, runs and resizes take them."""
    return (
        fields.integer("vcpu_count", minimum=1, maximum=SIZE_MAXIMUM),
        fields.integer("memory_mib", minimum=1, maximum=SIZE_MAXIMUM),
        fields.integer("disk_mib", minimum=1, maximum=SIZE_MAXIMUM),
    )


def query_limit(query: Mapping[str, str]) -> int:
    """Return the page size: 50 unless given, at most 1,000."""
    text = query.get("limit")
    if text is None:
        return PAGE_DEFAULT
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) == 0:
        raise invalid("limit", "an integer of at least 1")
    return min(int(text), PAGE_MAXIMUM)


def query_choices(query: Mapping[str, str], name: str, allowed: Collection[str] | None = None) -> frozenset[str] | None:
    """Return the values of a filter: one or more, joined by commas; None when it is absent."""
    text = query.get(name)
    if text is None:
        return None
    values = frozenset(part.strip() for part in text.split(","))
    if "" in values or (allowed is not None and not values <= set(allowed)):
        raise invalid(name, f"one or more of {', '.join(sorted(allowed))}" if allowed is not None else "a value")
    return values


def query_instant(query: Mapping[str, str], name: str) -> int | None:
    """Return an RFC 3339 timestamp as milliseconds since the epoch; None when it is absent."""
    text = query.get(name)
    if text is None:
        return None
    # A ``+`` that was not percent-encoded arrives as a blank.
    match = _INSTANT.fullmatch(re.sub(r" (\d\d:\d\d)$", r"+\1", text.strip()))
    if match is None:
        raise invalid(name, "an RFC 3339 timestamp")
    date, time, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{time}{'+00:00' if zone in 'Zz' else zone}")
    except ValueError:
        raise invalid(name, "an RFC 3339 timestamp") from None
    return (moment - _EPOCH) // timedelta(milliseconds=1) + (int(float(fraction) * 1000) if fraction else 0)


def idempotency_key(request: web.Request) -> str | None:
    """Return the header's value, after a check (contract, section 3)."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not re.fullmatch(r"[ -~]{1,255}", key):
        raise invalid("Idempotency-Key", "1 to 255 printable ASCII characters")
    return key


__all__ = [
    "LARGE",
    "SIZE_MAXIMUM",
    "Fields",
    "idempotency_key",
    "query_choices",
    "query_instant",
    "query_limit",
    "read_object",
    "sizes",
]
