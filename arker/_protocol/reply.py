"""The conversion of a response into a result or a typed error (contract, section 3). Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from attrs import frozen

from arker._protocol.codec.hooks import Misfit, is_array, is_object, outputs_of
from arker._protocol.reader import NOTHING, Reader, id_in
from arker._protocol.request import Call, Generation, Response
from arker._protocol.retryable import is_error_code
from arker.errors import ApiError, BadReplyError, Recovery
from arker.errors.choice import api_error_class

T = TypeVar("T")

_EXCERPT = 300
_READ_FOR_EXCERPT = 64 * 1024


def decipher(call: Call[T], response: Response, reader: Reader, redact: Callable[[str], str]) -> T:
    """Return the result of a call; raises the `ApiError` that the server sent, or `BadReplyError`.

    Args:
        call: The call.
        response: The response.
        reader: The reader of the reply.
        redact: Removes secrets from a text that the server may have echoed.
    """
    if call.read_any is not None:
        return call.read_any(response, reader)
    value = reader.value(response.body)
    try:
        return _result(call, response, value, reader, redact)
    except ApiError as error:
        if value is not NOTHING:
            _add_ids(error, value, call)
        raise


def _result(call: Call[T], response: Response, value: object, reader: Reader, redact: Callable[[str], str]) -> T:
    status = response.status
    payload = reader.find(value, call.evidence) if 200 <= status < 300 else None
    if payload is None or reader.strict:
        said = _error_in(value)
        remarks = call.acknowledged and 200 <= status < 300 and not reader.strict
        if said is not None and not (remarks and _is_a_remark(value, said)):
            raise said.error(status, redact)
        if status >= 400:
            raise _error_of_a_gateway(response, value, redact)
        if not 200 <= status < 300:
            raise BadReplyError(f"HTTP {status} is no answer; redirects are not followed", status=status)
    if payload is None:
        if is_object(value):
            payload = value
        elif call.acknowledged and not reader.strict and not _is_markup(response.body):
            payload = {call.evidence[0]: value is not False}
        else:
            salvaged = call.salvage(response.body) if call.salvage is not None and not reader.strict else None
            if salvaged is not None:
                return salvaged
            problem = f"the reply is not a JSON object: {_describe(response.body, value)}"
            raise BadReplyError(problem, status=status, is_json=value is not NOTHING)
    try:
        return call.decode(payload, reader)
    except Misfit as misfit:
        stdout, stderr = outputs_of(payload)
        raise BadReplyError(
            f"the reply does not fit: {misfit.path or '$'} {misfit.problem}",
            path=misfit.path or "$",
            status=status,
            stdout=stdout,
            stderr=stderr,
        ) from None
    except ApiError as entry_error:
        if entry_error.status:  # otherwise the server itself has not said so
            entry_error.status = status
        raise


def api_error(code: str, message: str, *, status: int, from_service: bool = True) -> ApiError:
    """Return an error of the class for the code, or else for the status."""
    error = api_error_class(code, status)(message, code=code, status=status)
    error.from_service = from_service
    return error


def concluded(code: str, message: str) -> ApiError:
    """Return an error of the class for the code, for a conclusion of the client that no server has stated."""
    return api_error(code, message, status=0, from_service=False)


# --- errors ----------------------------------------------------------------------------------------------------------


@frozen
class _Said:
    """An error in the contract's form: a code and a message, at the top or below ``error``."""

    code: str
    message: str
    body: Mapping[str, Any]

    def error(self, status: int, redact: Callable[[str], str]) -> ApiError:
        error = api_error(self.code, self.message, status=status)
        details, request = self.body.get("details"), self.body.get("request")
        error.details = _redacted(details, redact) if is_object(details) else {}
        error.recovery = _recovery(self.body.get("recovery"), redact)
        stage = _text(self.body, "stage")
        error.stage = None if stage is None else redact(stage)
        kind = request.get("kind") if is_object(request) else None
        error.matched = kind == "matched" if kind in ("matched", "unmatched") else None
        return error


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    """Return a JSON value whose texts contain no secret that the server may have echoed."""
    if isinstance(value, str):
        return redact(value)
    if is_object(value):
        return {redact(name): _redacted(member, redact) for name, member in value.items()}
    return [_redacted(member, redact) for member in value] if is_array(value) else value


def _recovery(value: object, redact: Callable[[str], str]) -> Recovery | None:
    work = _text(value, "work") if is_object(value) else None
    if not is_object(value) or work is None:
        return None
    context = value.get("context")
    facts = context if is_object(context) else {}
    known: dict[str, Any] = {name: facts[name] for name in _STEPS if facts.get(name).__class__ is int}
    for name in ("vm_id", "run_id"):
        text = _text(facts, name)
        if text is not None:
            known[name] = redact(text)
    return Recovery(work=redact(work), **known)


_STEPS: Final = ("step_index", "step_count", "completed_steps", "exit_code")


def generation_of(response: Response, reader: Reader) -> Generation | None:
    """Return the generation of the server that answered a request for its health; None if that is unknown."""
    value = reader.value(response.body)
    nested: object = value.get("error") if is_object(value) else None
    if is_object(nested) and _error_of(nested) is not None and any(name in nested for name in _OF_TODAY):
        return "1"
    if is_object(value) and isinstance(value.get("status"), str) and response.status in (200, 503):
        return "1"
    return "0.5" if response.status in (404, 405) else None


_OF_TODAY: Final = ("request", "request_id", "timestamp")
"""Members of nested errors that only generation 1 has."""


def _error_in(value: object) -> _Said | None:
    if not is_object(value):
        return None
    nested: object = value.get("error")
    return _error_of(value) or (_error_of(nested) if is_object(nested) else None)


def _is_a_remark(value: object, said: _Said) -> bool:
    """Return whether a successful reply is only a remark, such as ``{"code": "accepted", "message": …}``.

    A server that puts errors into such replies has few codes, and newer ones have theirs below ``error``.
    """
    return is_object(value) and value.get("error") is None and not is_error_code(said.code)


def _error_of(payload: dict[str, Any]) -> _Said | None:
    code, message = payload.get("code"), payload.get("message")
    return _Said(code, message, payload) if isinstance(code, str) and isinstance(message, str) else None


def _error_of_a_gateway(response: Response, value: object, redact: Callable[[str], str]) -> ApiError:
    """Return an error by its status for a reply in another form, which may come from a proxy."""
    code, message = _loosely_worded(value)
    if message is None:
        message = response.body[:_READ_FOR_EXCERPT].decode("utf-8", "replace").strip()
    # Redact it before cutting it: a part of a secret at the cut would remain.
    message = redact(message)[:_EXCERPT] or f"HTTP {response.status}"
    kind = api_error_class("", response.status).default_code if code is None else code
    error = api_error(kind, message, status=response.status, from_service=False)
    if code is None:
        error.code = "internal"  # by the contract; the class is that of the status
    return error


def _loosely_worded(value: object) -> tuple[str | None, str | None]:
    for part in _parts(value):
        code = _text(part, "code") or (_text(part, "error") if isinstance(part.get("error"), str) else None)
        message = next((text for name in _MESSAGES if (text := _text(part, name)) is not None), None)
        if code is not None and not code.replace("_", "").replace("-", "").isalnum():
            code, message = None, message or code  # a sentence
        if code is not None or message is not None:
            return code, message or code or ""
    return None, None


_MESSAGES: Final = ("message", "detail", "title", "error_description", "reason")


def _parts(value: object) -> Iterator[dict[str, Any]]:
    """Return the places in a reply that may describe an error, the most specific one first."""
    if not is_object(value):
        return
    for name in ("error", "errors"):
        inner: object = value.get(name)
        if is_array(inner) and inner:
            inner = inner[0]
        if is_object(inner):
            yield inner
    yield value


def _text(obj: Mapping[str, Any], name: str) -> str | None:
    value = obj.get(name)
    return value if isinstance(value, str) and value else None


# --- other facts in a reply -------------------------------------------------------------------------------------------


def hints(body: bytes, reader: Reader) -> tuple[float | None, str | None]:
    """Return the delay in seconds that an error's body asks for, and the request's id."""
    value = reader.value(body)
    wait: float | None = None
    request_id: str | None = None
    for part in _hint_parts(value):
        if wait is None:
            wait = _seconds(part)
        if request_id is None:
            request_id = _text(part, "request_id")
    return wait, request_id


def _hint_parts(value: object) -> Iterator[dict[str, Any]]:
    for part in _parts(value):
        yield part
        details = part.get("details")
        if is_object(details):
            yield details


def _seconds(part: Mapping[str, Any]) -> float | None:
    for name, scale in (("retry_after_seconds", 1.0), ("retry_after", 1.0), ("retry_after_ms", 0.001)):
        value = part.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf:
            return value * scale
    return None


def _add_ids(error: ApiError, value: object, call: Call[Any]) -> None:
    """Add the ids in a reply to its error, since their resources may exist."""
    if error.vm_id is None and call.makes_vm:
        error.vm_id = id_in(value, ("vm_id", "id") if 200 <= error.status < 300 else ("vm_id",))
    if error.run_id is None:
        error.run_id = id_in(value, ("run_id",))
    if error.session_id is None:
        error.session_id = id_in(value, ("session_id",))


def _is_markup(body: bytes) -> bool:
    return body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _describe(body: bytes, value: object) -> str:
    if value is NOTHING:
        return f"{len(body)} bytes that are not JSON"
    return "an array" if isinstance(value, list) else f"a bare {type(value).__name__}"


__all__ = ["api_error", "concluded", "decipher", "generation_of", "hints"]
