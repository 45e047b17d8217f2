"""An operation of the table of routes, and the schemas of what stands in queries."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from aiohttp import web
from attrs import field, frozen

from arker.emulator.server.backend import Backend
from arker.emulator.server.generation import Generation
from arker.emulator.server.records import Organisation

Handler: TypeAlias = Callable[[Backend, Organisation, web.Request], Awaitable[web.StreamResponse]]
PublicHandler: TypeAlias = Callable[[Backend, web.Request], Awaitable[web.StreamResponse]]
Schema: TypeAlias = Mapping[str, Any]


@frozen
class Model:
    """A class of `arker.models`, by its name: only the OpenAPI document needs the classes, and they load slowly."""

    name: str


Shape: TypeAlias = Model | str
"""A shape that generation 0.5 has, as a model, or one that only generation 1 has, by its name there."""


@frozen(kw_only=True)
class Described:
    """What can be said of an operation.

    Attributes:
        name: What the organisation's run list and the OpenAPI document call it.
        id: What generation 1 calls it; None where it has no such operation.
        path: Its path below the base URL; parts that vary stand in braces.
        summary: What it does, in a few words.
        takes: The shapes that its body may have; none for an operation without a body.
        gives: The shapes that its reply may have.
        accepted: The shapes of a reply to work that goes on, which generation 1 answers with 202.
        query: The schemas of its query parameters.
        query_1: Those in generation 1, if they are others.
        errors: The statuses of its errors, beside those that every operation can have.
        keyed: Whether it heeds an ``Idempotency-Key``.
        old: Whether generation 0.5 has it.
    """

    name: str
    id: str | None
    method: str
    path: str
    summary: str
    takes: tuple[Shape, ...] = ()
    gives: tuple[Shape, ...] = ()
    accepted: tuple[Shape, ...] = ()
    query: Mapping[str, Schema] = field(factory=dict[str, Schema])
    query_1: Mapping[str, Schema] | None = None
    errors: tuple[int, ...] = ()
    keyed: bool = False
    old: bool = True

    @property
    def pattern(self) -> str:
        """The path in the form that aiohttp's router takes."""
        return re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", self.path)

    def queries(self, generation: Generation) -> Mapping[str, Schema]:
        """Return the schemas of its query parameters in this generation."""
        newer = self.query if self.query_1 is None else self.query_1
        known = {**(self.query if generation.old else {}), **(newer if generation.new else {})}
        if known.get("limit") is LIMIT and not generation.caps_limits:
            known["limit"] = {**LIMIT, "maximum": 20_000 if "lite" in known else 1000}
        return known

    def served_in(self, generation: Generation) -> bool:
        """Return whether this generation has it."""
        return (self.old and generation.old) or (self.id is not None and generation.new)


@frozen(kw_only=True)
class Operation(Described):
    """An operation for those who have an API key.

    Attributes:
        handler: What it does.
        socket: Whether it opens a WebSocket, for which a ticket does instead of the API key.
    """

    handler: Handler
    socket: bool = False


@frozen(kw_only=True)
class PublicOperation(Described):
    """An operation for everyone."""

    handler: PublicHandler


def several(*values: str) -> Schema:
    """Return the schema of one or more of these values, joined by commas."""
    one = "|".join(values)
    return {"type": "string", "pattern": f"^({one})(,({one}))*$"}


TEXT: Final[Schema] = {"type": "string"}
LIST: Final[Schema] = {"type": "string", "pattern": "^[^,\\s]+(,[^,\\s]+)*$"}
INSTANT: Final[Schema] = {"type": "string", "format": "date-time"}
NUMBER: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 999_999_999_999}
LIMIT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 999_999_999, "default": 50}
STATUS: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 999}
BOOLEAN: Final[Schema] = {"type": "boolean"}
PAGE: Final[Mapping[str, Schema]] = {"cursor": TEXT, "limit": LIMIT}
VM: Final = "/v1/vms/{vm_id}"
OF_VM: Final = (403, 404, 409, 422)
"""There is no such VM, it is a golden, it must not be changed, or the embedded backend does not have it."""


__all__ = [
    "BOOLEAN", "INSTANT", "LIMIT", "LIST", "NUMBER", "OF_VM", "PAGE", "STATUS", "TEXT", "VM", "Described", "Handler",
    "Model", "Operation", "PublicHandler", "PublicOperation", "Schema", "Shape", "several",
]  # fmt: skip
