"""Reading and checking of requests. Refused values are named by their field.

These checks are the server's own: it shares none with the client, which could otherwise be wrong in the same way.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Protocol

import orjson
from aiohttp import web
from attrs import frozen

from arker.emulator.server.coding import coding_of, decode, is_coded
from arker.emulator.server.errors import ServiceError, invalid, unsupported
from arker.emulator.server.generation import Generation
from arker.emulator.server.journal.trace import trace_of

PAGE_DEFAULT = 50
PAGE_MAXIMUM = 1000
SIZE_MAXIMUM = 2**31 - 1
"""The largest count of CPUs or MiB; more is a mistake."""
LARGE = 128 * 1024  # bytes from which work on a body is moved off the event loop

_VGPUS: Final = (0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1, 2, 4, 8)
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


async def read_object(request: web.Request, most: int | None = None) -> dict[str, Any]:
    """Read the body, of so many bytes at most, as a JSON object. An empty body is an empty object."""
    coding = coding_of(request)
    raw = await request.read()
    if raw and is_coded(request):
        raw = await asyncio.to_thread(decode, raw, coding, request.client_max_size)
    if most is not None and len(raw) > most:
        details = {"maximum_bytes": most, "request_bytes": len(raw)}
        raise ServiceError("payload_too_large", f"a body has at most {most} bytes here", details=details)
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


class Speaker(Protocol):
    """What knows the server's generation."""

    @property
    def generation(self) -> Generation: ...


@frozen
class Sizes:
    """What is asked for; None: as it was."""

    vcpu_count: int | None
    memory_mib: int | None
    disk_mib: int | None

    @property
    def any(self) -> bool:
        return (self.vcpu_count, self.memory_mib, self.disk_mib) != (None, None, None)


class Fields:
    """Typed access to the members of a JSON object. A null member counts as absent.

    Args:
        members: The object.
        shape: What the object is, as generation 1 calls it. It has no other members than the server's generation says.
        generation: What the server speaks.
        where: What precedes the members' names in messages.
    """

    __slots__ = ("_members", "_where", "generation")

    def __init__(self, members: Mapping[str, Any], shape: str, generation: Generation, where: str = "") -> None:
        self._members = generation.take(shape, members, where)
        self._where = where
        self.generation = generation

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

    def map(self, key: str) -> dict[str, Any] | None:
        """Return an object whose members can have any names."""
        value = self._members.get(key)
        if value is not None and not isinstance(value, dict):
            raise invalid(self.name(key), "an object")
        return value  # pyright: ignore[reportUnknownVariableType]

    def object(self, key: str, shape: str) -> Fields | None:
        value = self.map(key)
        return None if value is None else self.inside(value, shape, self.name(key))

    def inside(self, members: dict[str, Any], shape: str, where: str) -> Fields:
        """Return the fields of an object that is a part of this one."""
        return Fields(members, shape, self.generation, f"{where}.")

    def has(self, key: str) -> bool:
        """Return whether a member is there, also as null."""
        return key in self._members

    def texts(self, key: str) -> list[str] | None:
        """Return a list of strings."""
        value = self._members.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):  # pyright: ignore[reportUnknownVariableType]
            raise invalid(self.name(key), "a list of non-empty strings")
        return value  # pyright: ignore[reportUnknownVariableType]

    def items(self) -> list[tuple[str, Any]]:
        return list(self._members.items())


def body_of(backend: Speaker, shape: str, members: dict[str, Any]) -> Fields:
    """Return the fields of a request's body."""
    return Fields(members, shape, backend.generation)


async def read_fields(backend: Speaker, shape: str, request: web.Request) -> Fields:
    """Read the body of a request."""
    return body_of(backend, shape, await read_object(request))


def sizes(fields: Fields) -> Sizes:
    """Return the sizes in either form: ``vcpu_count`` and so on, or ``resources``."""
    given = fields.object("resources", "ResourcesInput")
    former = Sizes(
        fields.integer("vcpu_count", minimum=1, maximum=fields.generation.most_vcpus),
        fields.integer("memory_mib", minimum=1, maximum=SIZE_MAXIMUM),
        fields.integer("disk_mib", minimum=1, maximum=SIZE_MAXIMUM),
    )
    if given is None:
        return former
    if former.any:
        raise invalid("resources", "either this or vcpu_count, memory_mib and disk_mib")
    vgpu = given.raw("vgpu")
    if vgpu is not None and (isinstance(vgpu, bool) or vgpu not in _VGPUS):
        raise invalid("resources.vgpu", f"one of {', '.join(f'{part:g}' for part in _VGPUS)}")
    if vgpu:
        raise unsupported("resources.vgpu: the embedded backend has no GPU")
    return Sizes(given.integer("vcpu", minimum=1, maximum=255), _mebibytes(given, "memory"), _mebibytes(given, "disk"))


def _mebibytes(fields: Fields, resource: str) -> int | None:
    size = fields.integer(f"{resource}_mib", minimum=0, maximum=SIZE_MAXIMUM)
    if size == 0:
        raise ServiceError(
            "insufficient_resources",
            f"{fields.name(resource)}_mib: expected at least 1",
            details={
                "resource": resource,
                "requested": {"unit": "bytes", "value": 0},
                "minimum": {"unit": "bytes", "value": 1024 * 1024},
            },
        )
    return size


def query_boolean(query: Mapping[str, str], name: str) -> bool | None:
    """Return a filter that is true or false, in small letters or with a capital."""
    text = query.get(name)
    if text is None:
        return None
    if text.lower() not in {"true", "false"}:
        raise invalid(name, "true or false")
    return text.lower() == "true"


def query_limit(backend: Speaker, query: Mapping[str, str], most: int = PAGE_MAXIMUM) -> int:
    """Return the page size: 50 unless given, at most 1,000. Generation 1 refuses a larger one."""
    text = query.get("limit")
    if text is None:
        return PAGE_DEFAULT
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) == 0:
        raise invalid("limit", "an integer of at least 1")
    if int(text) > most and not backend.generation.caps_limits:
        raise invalid("limit", f"an integer of at most {most}")
    return min(int(text), most)


def query_integer(query: Mapping[str, str], name: str, *, minimum: int, maximum: int) -> int | None:
    """Return a number of the query; None when it is absent."""
    text = query.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or not minimum <= int(text) <= maximum:
        raise invalid(name, f"an integer from {minimum} to {maximum}")
    return int(text)


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


def idempotency_key(backend: Speaker, request: web.Request) -> str | None:
    """Return the header's value, after a check."""
    key, longest = request.headers.get("Idempotency-Key"), backend.generation.longest_key
    if key is not None and not (re.fullmatch(r"[ -~]+", key) and len(key) <= longest):
        raise invalid("Idempotency-Key", f"1 to {longest} printable ASCII characters")
    return key


__all__ = [
    "LARGE",
    "PAGE_MAXIMUM",
    "SIZE_MAXIMUM",
    "Fields",
    "Sizes",
    "body_of",
    "idempotency_key",
    "query_boolean",
    "query_choices",
    "query_instant",
    "query_integer",
    "query_limit",
    "read_fields",
    "read_object",
    "sizes",
]
