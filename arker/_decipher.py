"""A response becomes a result or a typed error (contract, section 3). Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from arker import _codec
from arker._codec_hooks import Misfit, is_object
from arker._wire import Call, Response
from arker.errors import ApiError, BadReplyError, api_error_class

T = TypeVar("T")

_EXCERPT = 300
_READ_FOR_EXCERPT = 64 * 1024


def decipher(call: Call[T], response: Response, redact: Callable[[str], str]) -> T:
    """The result of a call; raises the `ApiError` that the server sent, or `BadReplyError`.

    Args:
        call: What was asked for.
        response: What came.
        redact: Takes secrets out of a text that the server may have echoed.
    """
    payload = _payload(response)
    error = _error_in(payload) if payload is not None else None
    if error is not None:
        code, message = error
        raise api_error(code, message, status=response.status)
    if response.status >= 400:
        # Redacted before it is cut: of a secret across the cut, a part would be left.
        start = response.body[:_READ_FOR_EXCERPT].decode("utf-8", "replace").strip()
        text = redact(start)[:_EXCERPT]
        raise api_error("internal", text or f"HTTP {response.status}", status=response.status)
    if not 200 <= response.status < 300:
        raise BadReplyError(f"HTTP {response.status} is no answer; redirects are not followed", status=response.status)
    if payload is None:
        raise BadReplyError(f"the reply is not a JSON object: {_describe(response.body)}", status=response.status)
    try:
        return call.decode(payload)
    except Misfit as misfit:
        raise BadReplyError(
            f"the reply does not fit: {misfit.path or '$'} {misfit.problem}",
            path=misfit.path or "$",
            status=response.status,
        ) from None
    except ApiError as entry_error:
        raise entry_error.with_context(status=response.status) from None


def api_error(code: str, message: str, *, status: int) -> ApiError:
    """The error of the class that fits the code, or else the status."""
    return api_error_class(code, status)(message, code=code, status=status)


def _payload(response: Response) -> dict[str, Any] | None:
    """The JSON object of a response; an empty body counts as ``{}``, anything else is None."""
    try:
        value = _codec.loads(response.body)
    except ValueError:
        return None if response.body.strip() else {}
    return value if is_object(value) else None


def _error_in(payload: dict[str, Any]) -> tuple[str, str] | None:
    nested: object = payload.get("error")
    return _error_of(payload) or (_error_of(nested) if is_object(nested) else None)


def _error_of(payload: dict[str, Any]) -> tuple[str, str] | None:
    code, message = payload.get("code"), payload.get("message")
    return (code, message) if isinstance(code, str) and isinstance(message, str) else None


def _describe(body: bytes) -> str:
    try:
        value = _codec.loads(body)
    except ValueError:
        return f"{len(body)} bytes that are not JSON"
    return "an array" if isinstance(value, list) else f"a bare {type(value).__name__}"
