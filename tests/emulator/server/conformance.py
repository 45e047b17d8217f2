"""Whether a reply is what the server's own OpenAPI document says of its operation and status."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Protocol, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from arker.emulator.options import GenerationName
from arker.emulator.server.openapi import document


class _Validator(Protocol):
    def validate(self, instance: Any) -> None: ...


@lru_cache(maxsize=3)
def _document(generation: GenerationName) -> dict[str, Any]:
    return document("http://127.0.0.1/api", generation)


@lru_cache(maxsize=3)
def _paths(generation: GenerationName) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in _document(generation)["paths"]]


@lru_cache(maxsize=1024)
def _validator(generation: GenerationName, path: str, method: str, status: int) -> _Validator | None:
    """None where the document knows no such status."""
    responses = _document(generation)["paths"][path][method]["responses"]
    response = responses.get(str(status))
    if response is None:
        return None
    if "$ref" in response:
        response = _document(generation)["components"]["responses"][str(status)]
    schema = response["content"]["application/json"]["schema"]
    return cast("_Validator", Draft202012Validator({**schema, "components": _document(generation)["components"]}))


def conform(method: str, path: str, status: int, content: bytes, generation: GenerationName = "both") -> None:
    """Fail if the document does not allow this reply: 404 of a path that it does not know, and 405 of a method."""
    plain = path.partition("?")[0]
    template = next((template for pattern, template in _paths(generation) if pattern.fullmatch(plain)), None)
    if template is None or method.lower() not in _document(generation)["paths"][template]:
        known = status == (404 if template is None or generation == "0.5" else 405)
        assert known or status == 401 or plain == "/openapi.json", (method, path, status)
        return
    validator = _validator(generation, template, method.lower(), status)
    assert validator is not None, f"undocumented status {status} of {method} {template}: {content[:300]!r}"
    try:
        validator.validate(json.loads(content))
    except ValidationError as error:
        raise AssertionError(f"{method} {template} {status}: {error.json_path}: {error.message[:500]}") from None
