"""The schemas of generation 0.5, made from the attrs classes in `arker.models`.

Their descriptions come from the classes' docstrings. What these cannot say (bounds that are checked in code, fields
that exclude each other) stands in two small tables here. A reply has no other members than its schema's, and where a
client keeps unknown values, this server sends the known ones only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import UnionType
from typing import Any, Final, Literal, Union, cast, get_args, get_origin

import attrs

from arker import models
from arker.emulator.server.generation import FORMER, Json
from arker.emulator.server.parsing import SIZE_MAXIMUM
from arker.models._reply import DECLARED
from arker.models.network import NetworkPolicyUnknown

_FILLED: Final = {"pattern": "\\S"}
_SIZE: Final = {"minimum": 1, "maximum": SIZE_MAXIMUM}
_SIZES: Final = {"vcpu_count": _SIZE, "memory_mib": _SIZE, "disk_mib": _SIZE}
_FILE_SIZE: Final = {"minimum": 0, "maximum": models.MAX_PUT_SIZE}
_OFFSET: Final = {"minimum": 0}
_DIGEST: Final = {"pattern": "^[0-9a-f]{64}$"}
_RESOURCES: Final = {"pattern": "^(cpu|memory|disk)(,(cpu|memory|disk))*$"}
_ENCODING: Final = {"enum": ["utf-8", "base64"]}
_OUTPUTS: Final = {"stdout_encoding": _ENCODING, "stderr_encoding": _ENCODING}
_HOSTS: Final[Json] = {"items": {"type": "string", **_FILLED}}
_PORT: Final = {"type": "integer", "minimum": 1, "maximum": 65535}

_FIELDS: Final[Mapping[type, Mapping[str, Json]]] = {
    models.ForkRequest: {
        "source_vm_id": _FILLED,
        "source_vm_name": _FILLED,
        "source_org_id": _FILLED,
        "name": {**_FILLED, "maxLength": 255},
        "max_memory_mib": _SIZE,
        **_SIZES,
    },
    models.RunRequest: {
        "session_id": _FILLED,
        "session_idx": {"minimum": 0},
        "timeout": {"exclusiveMinimum": 0},
        "end_symbol": _FILLED,
        "acquire": _RESOURCES,
        "release": _RESOURCES,
        "signal": _FILLED,
        **_SIZES,
    },
    models.ResizeRequest: _SIZES,
    models.CreateSessionRequest: {"cwd": {**_FILLED, "maxLength": 4096}},
    models.TunnelRequest: {"ports": {"items": _PORT, "minItems": 1, "maxItems": 1}},
    models.SyncCreateRequest: {"filesystem_id": _FILLED, "path": _FILLED},
    models.FilesystemCreateRequest: {"name": _FILLED},
    models.InboundPortRequest: {
        "visibility": {"enum": ["private", "public", None]},
        "protocol": {"enum": ["http", None]},
    },
    models.InboundRequest: {"ports": {"propertyNames": {"pattern": "^[1-9][0-9]{0,4}$"}}},
    models.NetworkPolicyAllow: {"allow": _HOSTS},
    models.NetworkPolicyBlock: {"block": _HOSTS},
    models.Run: _OUTPUTS,
    models.CompletedRunResult: _OUTPUTS,
    models.SyncReadInlineResponse: {"encoding": _ENCODING},
    models.SyncReadRequest: {"path": _FILLED},
    models.SyncChunkWrite: {
        "path": _FILLED,
        "size": _FILE_SIZE,
        "upload_id": {"pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"},
        "content": {"contentEncoding": "base64"},
        "start": _OFFSET,
        "end": _OFFSET,
        "sha256": _DIGEST,
    },
    models.SyncPresignedWriteRequest: {"path": _FILLED, "size": _FILE_SIZE},
    models.SyncPresignedWriteCommit: {"path": _FILLED, "size": _FILE_SIZE, "upload_id": _FILLED, "sha256": _DIGEST},
    models.SyncWriteRequest: {"writes": {"maxItems": 500}},
}
"""Bounds of single fields."""

_OBJECTS: Final[Mapping[type, Json]] = {
    models.ForkRequest: {"oneOf": [{"required": ["source_vm_id"]}, {"required": ["source_vm_name"]}]},
    models.ResizeRequest: {"anyOf": [{"required": [name]} for name in _SIZES]},
    models.SyncPresignedWriteCommit: {"not": {"required": ["content"]}},
}
"""Constraints on whole objects."""

_NETWORK_NAMES: Final[Json] = {"type": "string", "enum": ["open", "blocked"]}


class Schemas:
    """A collection of the classes' schemas, each under its own name."""

    def __init__(self) -> None:
        self.named: Json = {}

    def of(self, type_: Any, *, reply: bool) -> Json:
        """Return the schema of a type, ignoring null."""
        simple: Mapping[Any, Json] = {
            str: {"type": "string"},
            bytes: {"type": "string"},
            memoryview: {"type": "string"},
            bool: {"type": "boolean"},
            int: {"type": "integer"},
            float: {"type": "number"},
            object: {},
            Any: {},
        }
        if type_ in simple:
            return dict(simple[type_])
        origin, arguments = get_origin(type_), get_args(type_)
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin is Union or origin is UnionType:
            return self._union(arguments, reply=reply)
        if origin is tuple:
            return {"type": "array", "items": self.of(arguments[0], reply=reply)}
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1], reply=reply)}
        if attrs.has(type_):
            return self._reference(type_, reply=reply)
        raise TypeError(f"no schema for {type_!r}")

    def _union(self, members: tuple[Any, ...], *, reply: bool) -> Json:
        members = tuple(member for member in members if member not in (type(None), NetworkPolicyUnknown))
        literals = [member for member in members if get_origin(member) is Literal]
        if literals:
            return {"enum": [value for literal in literals for value in get_args(literal)]}
        schemas: list[Json] = []
        for member in members:
            # In a union with policies, a string is the name of a policy.
            schema = _NETWORK_NAMES if member is str and bool in members else self.of(member, reply=reply)
            if schema not in schemas:
                schemas.append(schema)
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def _reference(self, cls: type, *, reply: bool) -> Json:
        name = cls.__name__
        if name not in self.named:
            self.named[name] = {}  # it may contain itself
            self.named[name] = self._object(cls, reply=reply)
        return {"$ref": f"#/components/schemas/{name}"}

    def _object(self, cls: type, *, reply: bool) -> Json:
        resolved = cast("type[attrs.AttrsInstance]", attrs.resolve_types(cast("Any", cls)))
        said = _descriptions(cls)
        properties: Json = {}
        required: list[str] = []
        known = FORMER.get(cls.__name__)
        for field in attrs.fields(resolved):
            if known is not None and field.name not in known:
                continue  # only generation 1 has it
            if reply and (not field.init or field.name == "misfits"):
                continue  # a tag for Python, or the client's own; not on the wire
            constant = get_origin(field.type) is Literal and len(get_args(field.type)) == 1
            declared = bool(field.metadata.get(DECLARED))
            nullable = type(None) in get_args(field.type) and not declared
            schema = self.of(field.type, reply=reply) | _FIELDS.get(cls, {}).get(field.name, {})
            if field.name.endswith("_at"):
                schema["format"] = "date-time"
            if nullable or (not reply and field.default is not attrs.NOTHING and not constant):
                schema = _or_null(schema)
            if field.name in said:
                schema["description"] = said[field.name]
            properties[field.name] = schema
            array = get_origin(field.type) is tuple and cls is not models.SyncChunkWriteResult
            if field.default is attrs.NOTHING or declared or constant or (reply and array):
                required.append(field.name)
        schema = {"type": "object", "description": _first_line(cls), "properties": properties, **_OBJECTS.get(cls, {})}
        if required:
            schema["required"] = required
        if reply:
            schema["additionalProperties"] = False
        return schema


def _or_null(schema: Json) -> Json:
    """Return the schema, extended by null, which stands for an absent member."""
    if isinstance(schema.get("type"), str):
        values = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
        return {**schema, **values, "type": [schema["type"], "null"]}
    if "enum" in schema:
        return {**schema, "enum": list(dict.fromkeys([*schema["enum"], None]))}
    if not schema:
        return schema
    return {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


def _descriptions(cls: type) -> dict[str, str]:
    """Return the fields' descriptions in the ``Attributes:`` sections of a class and its bases."""
    said: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        section = (base.__doc__ or "").partition("    Attributes:\n")[2].partition("\n\n")[0]
        for match in re.finditer(r"^ {8}(\w+): (.*(?:\n {10,}.*)*)", section, re.MULTILINE):
            said[match[1]] = " ".join(match[2].split())
    return said


__all__ = ["Schemas"]
