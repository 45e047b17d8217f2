"""Whether a reply is what the server's own OpenAPI document says of its operation and status."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Protocol, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from arker.emulator.server.openapi import document


class _Validator(Protocol):
    def validate(self, instance: Any) -> None: ...


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    return document("http://127.0.0.1/api")


@lru_cache(maxsize=1)
def _paths() -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in _document()["paths"]]


@lru_cache(maxsize=1024)
def _validator(path: str, method: str, status: int) -> _Validator | None:
    """None where the document knows no such status."""
    responses = _document()["paths"][path][method]["responses"]
    response = responses.get(str(status))
    if response is None:
        return None
    if "$ref" in response:
        response = _document()["components"]["responses"][str(status)]
    schema = response["content"]["application/json"]["schema"]
    return cast("_Validator", Draft202012Validator({**schema, "components": _document()["components"]}))


def conform(method: str, path: str, status: int, content: bytes) -> None:
    """Fail if the document does not allow this reply; of paths and methods that it does not know, only 404 is right."""
    plain = path.partition("?")[0]
    template = next((template for pattern, template in _paths() if pattern.fullmatch(plain)), None)
    if template is None or method.lower() not in _document()["paths"][template]:
        known = status == 405 if template is not None else status == 404
        assert known or status == 401 or plain == "/openapi.json", (method, path, status)
        return
    validator = _validator(template, method.lower(), status)
    assert validator is not None, f"undocumented status {status} of {method} {template}: {content[:300]!r}"
    try:
        validator.validate(json.loads(content))
    except ValidationError as error:
        raise AssertionError(f"{method} {template} {status}: {error.json_path}: {error.message[:500]}") from None
