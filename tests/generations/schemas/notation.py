"""What schemas are written with: the few shapes that the contract uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

Schema: TypeAlias = dict[str, Any]
Schemas: TypeAlias = dict[str, Schema]

UINT32: Final = 2**32 - 1
UINT64: Final = 2**64 - 1


def text(**bounds: Any) -> Schema:
    return {"type": "string", **bounds}


def integer(minimum: int | None = None, maximum: int | None = None) -> Schema:
    bounds = {"minimum": minimum, "maximum": maximum}
    return {"type": "integer", **{name: value for name, value in bounds.items() if value is not None}}


def one_of(*values: Any) -> Schema:
    """Return the schema of one of some values."""
    return {"enum": list(values)}


def ref(name: str) -> Schema:
    """Return a reference to a schema of the contract."""
    return {"$ref": f"#/$defs/{name}"}


def some(items: Schema, **bounds: Any) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items, **bounds}


def mapping(values: Schema, keys: str | None = None) -> Schema:
    """Return the schema of an object whose members are all of one shape, and whose names match a pattern."""
    names = {} if keys is None else {"propertyNames": {"pattern": keys}}
    return {"type": "object", "additionalProperties": values, **names}


def either(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


def or_null(schema: Schema) -> Schema:
    return either(schema, {"type": "null"})


def opened(members: Mapping[str, Schema], **constraints: Any) -> Schema:
    """Return the schema of an object that may have further members. A ``*`` marks a member that it must have."""
    return {
        "type": "object",
        "properties": {name.rstrip("*"): schema for name, schema in members.items()},
        "required": [name.rstrip("*") for name in members if name.endswith("*")],
        **constraints,
    }


def closed(members: Mapping[str, Schema], **constraints: Any) -> Schema:
    """Return the schema of an object that has no other members. A ``*`` marks a member that it must have."""
    return opened(members, additionalProperties=False, **constraints)


TEXT: Final = text()
FILLED: Final = text(minLength=1)
TIME: Final = text(format="date-time")
UUID: Final = text(format="uuid")
BOOLEAN: Final[Schema] = {"type": "boolean"}
NUMBER: Final[Schema] = {"type": "number"}
COUNT: Final = integer(0)
ANY: Final[Schema] = {}
NULL: Final[Schema] = {"type": "null"}
MAYBE_TEXT: Final = or_null(TEXT)
MAYBE_COUNT: Final = or_null(COUNT)
MAYBE_BOOLEAN: Final = or_null(BOOLEAN)
ID_PATTERN: Final = "^[a-z0-9][a-z0-9._-]{0,63}$"
"""The ids of rules and of SSH keys."""
DELETED: Final = closed({"deleted*": BOOLEAN})


def page(member: str, item: str) -> Schema:
    """Return the schema of a page of a list."""
    return closed({f"{member}*": some(ref(item)), "next_cursor": MAYBE_TEXT})
