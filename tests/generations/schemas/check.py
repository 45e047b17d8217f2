"""Whether a request or a reply is one of generation 1."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Protocol, cast
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError, best_match  # pyright: ignore[reportUnknownVariableType]
from jsonschema.validators import extend  # pyright: ignore[reportUnknownVariableType]

from tests.generations.schemas.errors import NAMES, STATUSES
from tests.generations.schemas.notation import Schema, text
from tests.generations.schemas.operations import OPERATIONS, SCHEMAS, Operation

KEY: Final = text(minLength=1, maxLength=64, pattern="^[ -~]+$")
"""An ``Idempotency-Key``."""
ANYWHERE: Final = frozenset({"unauthorized", "not_found", "method_not_allowed", "internal", "unavailable"})
"""What a request is refused with that stands for no operation."""

_FORMATS: Final = FormatChecker(formats=())
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


class Wrong(AssertionError):
    """A request or a reply that the contract does not allow."""


def _is_integer(_: object, value: object) -> bool:
    """Return whether a value is written as an integer: servers need not take ``2.0`` for one."""
    return isinstance(value, int) and not isinstance(value, bool)


_Strict: Final[Any] = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
)


class _Errors(Protocol):
    def iter_errors(self, instance: Any) -> Iterable[ValidationError]: ...


@_FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    datetime.fromisoformat(value[:19])
    return _TIME.fullmatch(value) is not None


@_FORMATS.checks("uuid", raises=ValueError)
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or str(UUID(value)) == value.lower()


@_FORMATS.checks("uri", raises=ValueError)
def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or bool(urlsplit(value).scheme and urlsplit(value).netloc)


def _opened(schema: Any) -> Any:
    """Return the schema with every closed object open."""
    if isinstance(schema, dict):
        members = cast("dict[str, Any]", schema)
        return {
            name: _opened(value)
            for name, value in members.items()
            if not (name == "additionalProperties" and value is False)
        }
    if isinstance(schema, list):
        return [_opened(each) for each in schema]  # pyright: ignore[reportUnknownVariableType]
    return schema


@lru_cache(maxsize=4)
def _definitions(*, closed: bool) -> dict[str, Any]:
    return dict(SCHEMAS) if closed else _opened(SCHEMAS)


@lru_cache(maxsize=256)
def _validator(name: str, *, closed: bool) -> _Errors:
    schema = {"$ref": f"#/$defs/{name}", "$defs": _definitions(closed=closed)}
    return cast("_Errors", _Strict(schema, format_checker=_FORMATS))


def check(what: str, name: str, value: Any, *, closed: bool = True) -> None:
    """Fail unless a value has a shape of the contract.

    Args:
        what: What the value is, for the message.
        name: The name of the schema.
        closed: Whether members that the contract does not know are wrong.
    """
    _report(what, _validator(name, closed=closed), value)


def _check_text(what: str, schema: Schema, value: str) -> None:
    _report(what, cast("_Errors", _Strict(schema, format_checker=_FORMATS)), value)


def _report(what: str, validator: _Errors, value: Any) -> None:
    error = cast("ValidationError | None", best_match(validator.iter_errors(value)))
    if error is not None:
        raise Wrong(f"{what}: {error.json_path}: {error.message[:400]} in {json.dumps(value)[:600]}")


def find(method: str, path: str) -> Operation | None:
    """Return the operation that a method and a path below the base URL stand for."""
    return next((each for each in OPERATIONS if each.method == method and each.pattern.fullmatch(path)), None)


def check_request(method: str, target: str, headers: Mapping[str, str], content: bytes) -> Operation:
    """Fail unless a request is one of the contract.

    Args:
        target: Path below the base URL, and query.
    """
    path, _, query = target.partition("?")
    operation = find(method, path)
    if operation is None:
        raise Wrong(f"there is no operation {method} {path}")
    what = f"{operation.name}, request"
    for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
        if name not in operation.query:
            raise Wrong(f"{what}: it has no parameter {name}")
        _check_text(f"{what}, {name}", operation.query[name], value)
    key = headers.get("Idempotency-Key")
    if key is not None and operation.keyed:
        _check_text(f"{what}, Idempotency-Key", KEY, key)
    by_ticket = "ticket" in operation.query and "ticket=" in query
    if not operation.public and not by_ticket and "Authorization" not in headers:
        raise Wrong(f"{what}: no key")
    if operation.takes is None:
        if content:
            raise Wrong(f"{what}: it takes no body: {content[:200]!r}")
        return operation
    if headers.get("Content-Type", "").partition(";")[0] != "application/json":
        raise Wrong(f"{what}: {headers.get('Content-Type')} is not the content type of JSON")
    check(what, operation.takes, json.loads(content))
    return operation


def check_reply(
    method: str, path: str, status: int, headers: Mapping[str, str], content: bytes, *, closed: bool = True
) -> None:
    """Fail unless a reply is one that the contract has for its request."""
    operation = find(method, path.partition("?")[0])
    what = f"{method} {path if operation is None else operation.name}, {status}"
    if status >= 400:
        _check_error(what, method, operation, status, headers, content, closed=closed)
        return
    if operation is None or status not in operation.gives:
        raise Wrong(f"{what}: not a status of this operation: {content[:300]!r}")
    name = operation.gives[status]
    if name is None:
        if content:
            raise Wrong(f"{what}: it has no body: {content[:200]!r}")
        return
    if headers.get("Content-Type", "").partition(";")[0] != "application/json":
        raise Wrong(f"{what}: {headers.get('Content-Type')} is not the content type of JSON")
    check(what, name, json.loads(content), closed=closed)


def _check_error(
    what: str,
    method: str,
    operation: Operation | None,
    status: int,
    headers: Mapping[str, str],
    content: bytes,
    *,
    closed: bool,
) -> None:
    body = json.loads(content)
    check(what, "ErrorResponse", body)
    error = body["error"]
    code = error["code"]
    # By its own code the message tells more than by a union of all.
    check(what, NAMES[code], error, closed=closed)
    if STATUSES[code] != status:
        raise Wrong(f"{what}: the status of {code} is {STATUSES[code]}")
    declared = ANYWHERE if operation is None else operation.errors
    if code not in declared:
        raise Wrong(f"{what}: {code} is no error of this operation: {error['message']}")
    request = {"kind": "unmatched", "method": method}
    if operation is not None:
        request = {"kind": "matched", "operation_id": operation.name}
    if error["request"] != request:
        raise Wrong(f"{what}: the request is {error['request']}, not {request}")
    if code == "unauthorized" and "WWW-Authenticate" not in headers:
        raise Wrong(f"{what}: no WWW-Authenticate")
    if code == "method_not_allowed":
        allowed = [each.strip() for each in headers.get("Allow", "").split(",")]
        if sorted(allowed) != sorted(error["details"]["allowed_methods"]):
            raise Wrong(f"{what}: Allow is {allowed}, the details say {error['details']}")
    hint = error.get("retry_after_seconds")
    if hint is not None and headers.get("Retry-After") != str(hint):
        raise Wrong(f"{what}: Retry-After is {headers.get('Retry-After')}, the body says {hint}")


__all__ = ["ANYWHERE", "KEY", "Wrong", "check", "check_reply", "check_request", "find"]
