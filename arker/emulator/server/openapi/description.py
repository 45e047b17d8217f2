"""`GET /openapi.json`: the operations as an OpenAPI 3.1 document, made from the table of routes and from the shapes of
the generation that the server speaks.

Shapes of generation 1 are data, those of generation 0.5 are made from the models. Where a server speaks both, a shape
has the members of both. The document is open: it says nothing that this package does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import orjson

from arker import models
from arker.emulator.options import WINDOW_MAXIMUM, GenerationName
from arker.emulator.server.generation import FORMER, FORMER_NAMES, SCHEMAS, Generation, Json
from arker.emulator.server.openapi.former import Schemas
from arker.emulator.server.operation import Described, Model, Operation, PublicOperation, Shape
from arker.emulator.server.routes import served

_COMPONENTS: Final = "#/components/schemas/"
_TODAY: Final = {former: today for today, former in FORMER_NAMES.items()}


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
        self._former = Schemas()

    def of(self, shape: Shape, *, reply: bool) -> Json | None:
        """Return the schema of a shape; None if the generation does not have it."""
        name = shape if isinstance(shape, str) else _TODAY.get(shape.name, shape.name)
        if isinstance(shape, Model) and self._speaks.old:
            self._former.of(getattr(models, shape.name), reply=reply)
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
    possible = {400, 500, 503, *([] if isinstance(operation, PublicOperation) else [401]), *operation.errors}
    statuses = sorted(possible & set(speaks.statuses()))
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
    if isinstance(operation, Operation) and operation.socket:
        body["responses"] = {"101": {"description": "A WebSocket"}, **body["responses"]}
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
    shapes.every((Model("ErrorResponse"), *given), reply=True)
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


__all__ = ["document", "encoded"]
