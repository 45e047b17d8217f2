"""`GET /openapi.json`: the operations as an OpenAPI 3.1 document, made from the table of routes and from the shapes of
the generation that the server speaks.

Shapes of generation 1 are data. Where a server speaks both, a shape has the members of both. Shapes of generation 0.5
come from the attrs classes in `arker.models`, their descriptions from the classes' docstrings. What these cannot say
(bounds that are checked in code, fields that exclude each other) stands in two small tables here. A reply has no other
members than its schema's, and where a client keeps unknown values, this server sends the known ones only.

The document is open: it says nothing that this package does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import UnionType
from typing import Any, Final, Literal, Union, cast, get_args, get_origin

import attrs
import orjson

from arker import models
from arker.emulator.options import WINDOW_MAXIMUM, GenerationName
from arker.emulator.server.generation import FORMER, FORMER_NAMES, SCHEMAS, Generation
from arker.emulator.server.operation import Described, PublicOperation, Shape
from arker.emulator.server.parsing import SIZE_MAXIMUM
from arker.emulator.server.routes import served
from arker.models._reply import DECLARED
from arker.models.network import NetworkPolicyUnknown

Json = dict[str, Any]

PATH: Final = "/openapi.json"

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


class _Schemas:
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


def _error(status: int, speaks: Generation) -> Json:
    """Return the response of an error with this status."""
    codes = speaks.codes(status)
    if speaks.new:
        names = [name for name, schema in SCHEMAS.items() if _code_of(schema) in codes]
        errors = _one_of([{"$ref": f"{_COMPONENTS}{name}"} for name in names])
        schema: Json = {
            "type": "object",
            "properties": {"error": errors},
            "required": ["error"],
            "additionalProperties": False,
        }
    else:
        schema = {
            "allOf": [{"$ref": f"{_COMPONENTS}ErrorResponse"}, {"properties": {"code": {"enum": codes}}}],
        }
    return {"description": " or ".join(codes), "content": {"application/json": {"schema": schema}}}


def _code_of(schema: Json) -> str:
    """Return the code of an error of generation 1; nothing for other schemas and for the errors of entries."""
    properties = schema.get("properties", {})
    return properties["code"]["enum"][0] if "request_id" in properties and "code" in properties else ""


def _one_of(schemas: list[Json]) -> Json:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


class _Shapes:
    """The schemas of the shapes of a generation, each under its own name."""

    def __init__(self, speaks: Generation) -> None:
        self._speaks = speaks
        self._former = _Schemas()

    def of(self, shape: Shape, *, reply: bool) -> Json | None:
        """Return the schema of a shape; None if the generation does not have it."""
        name = shape if isinstance(shape, str) else _TODAY.get(shape.__name__, shape.__name__)
        if isinstance(shape, type) and self._speaks.old:
            self._former.of(shape, reply=reply)
        elif name not in SCHEMAS or not self._speaks.new:
            return None
        return {"$ref": f"{_COMPONENTS}{name}"}

    def every(self, shapes: Iterable[Shape], *, reply: bool) -> list[Json]:
        return [schema for shape in shapes if (schema := self.of(shape, reply=reply)) is not None]

    def components(self, used: Json) -> Json:
        """Return the schemas that something refers to, directly or not."""
        former = _renamed({_TODAY.get(name, name): schema for name, schema in self._former.named.items()})
        named: Json = {}
        todo = _references(used)
        while todo:
            name = todo.pop()
            if name in named:
                continue
            old, new = former.get(name), SCHEMAS.get(name) if self._speaks.new else None
            if old is None or new is None:
                named[name] = _closed(old, name) if new is None and self._speaks.new else (old or new)
            elif "properties" not in old or "properties" not in new:
                named[name] = new
            else:
                named[name] = _both(old, new)
            todo |= _references(named[name]) - named.keys()
        return dict(sorted(named.items()))


_COMPONENTS: Final = "#/components/schemas/"
_TODAY: Final = {former: today for today, former in FORMER_NAMES.items()}


def _references(node: Any) -> set[str]:
    return set(re.findall(rf'"{_COMPONENTS}(\w+)"', orjson.dumps(node).decode()))


def _renamed(schemas: Json) -> Json:
    """Return schemas of generation 0.5 whose references have the names of generation 1."""
    text = orjson.dumps(schemas).decode()
    for former, today in _TODAY.items():
        text = text.replace(f'"{_COMPONENTS}{former}"', f'"{_COMPONENTS}{today}"')
    renamed: Json = orjson.loads(text)
    return renamed


def _closed(schema: Json | None, name: str) -> Json:
    """Return a schema of generation 0.5 that takes no other members, as a server of both generations does."""
    closes = schema is not None and (name in FORMER or name.startswith("NetworkPolicy"))
    return {**(schema or {}), **({"additionalProperties": False} if closes else {})}


def _both(old: Json, new: Json) -> Json:
    """Return the schema of a shape of a server of both generations."""
    reply = old.get("additionalProperties") is False
    properties: Json = {}
    for name in {**old["properties"], **new["properties"]}:
        known = [schemas["properties"][name] for schemas in (old, new) if name in schemas["properties"]]
        properties[name] = known[0] if len(known) == 1 or known[0] == known[1] else {"anyOf": known}
    required, needed = set(old.get("required", ())), set(new.get("required", ()))
    constraints = {name: value for name, value in new.items() if name in {"oneOf", "anyOf", "not"}}
    if not constraints:
        constraints = {name: value for name, value in old.items() if name in {"oneOf", "anyOf", "not"}}
    merged = {
        "type": "object",
        "description": old.get("description", ""),
        "properties": properties,
        "additionalProperties": False,
        **constraints,
    }
    both = required | needed if reply else required & needed
    return merged | ({"required": sorted(both)} if both else {})


def _operation(operation: Described, shapes: _Shapes, speaks: Generation) -> Json:
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    queries = operation.queries(speaks)
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in queries.items()]
    if operation.keyed:
        key = {"type": "string", "pattern": f"^[!-~]{{1,{speaks.longest_key}}}$"}
        parameters.append({"name": "Idempotency-Key", "in": "header", "schema": key})
    done, going = shapes.every(operation.gives, reply=True), shapes.every(operation.accepted, reply=True)
    accepted = speaks.accepted
    replies = {"200": done + going} if accepted == 200 else {"200": done, str(accepted): going}
    statuses = sorted({400, 500, 503, *([] if isinstance(operation, PublicOperation) else [401]), *operation.errors})
    body: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {
            **{
                status: {"description": "Done", "content": {"application/json": {"schema": _one_of(schemas)}}}
                for status, schemas in replies.items()
                if schemas
            },
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses},
        },
    }
    if isinstance(operation, PublicOperation):
        body["security"] = []
    requests = shapes.every(operation.takes, reply=False)
    if requests:
        body["requestBody"] = {"required": True, "content": {"application/json": {"schema": _one_of(requests)}}}
    return body


def document(base_url: str, generation: GenerationName = "both") -> Json:
    """Build the document of a server at this base URL, which speaks this generation."""
    speaks = Generation(name=generation, window=WINDOW_MAXIMUM)
    shapes, operations = _Shapes(speaks), served(speaks)
    # A shape's own schema is made once, and replies are the stricter ones: they come first.
    given = [shape for operation in operations for shape in (*operation.gives, *operation.accepted)]
    shapes.every((models.ErrorResponse, *given), reply=True)
    paths: Json = {}
    for operation in operations:
        described = _operation(operation, shapes, speaks)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    responses = {str(status): _error(status, speaks) for status in speaks.statuses()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Arker VM API, as the embedded backend serves it",
            "version": {"0.5": "0.5.2", "1": "1", "both": "1 and 0.5.2"}[generation],
        },
        "servers": [{"url": base_url}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": responses,
            "schemas": shapes.components({"paths": paths, "responses": responses}),
        },
    }


@lru_cache(maxsize=8)
def encoded(base_url: str, generation: GenerationName) -> bytes:
    """Encode the document as JSON."""
    return orjson.dumps(document(base_url, generation))


__all__ = ["PATH", "document", "encoded"]
