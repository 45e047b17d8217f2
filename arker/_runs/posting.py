"""The post of a run in a form that its server accepts."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import TypeVar

import attrs

from arker._protocol.codec.hooks import is_array, is_object
from arker.errors import BadRequestError
from arker.models import RunRequest

T = TypeVar("T")


async def posting(request: RunRequest, key: str, post: Callable[[RunRequest, str], Awaitable[T]]) -> T:
    """Post a run. If the server refuses a fraction of a second, post it once more with its timeout rounded up.

    Args:
        request: The run.
        key: Its idempotency key.
        post: Sends a request under a key.
    """
    try:
        return await post(request, key)
    except BadRequestError as error:
        if not (isinstance(request.timeout, float) and _is_about(error, "timeout")):
            raise
        rounded = attrs.evolve(request, timeout=float(math.ceil(request.timeout)))
    return await post(rounded, _derived(key))


def _is_about(error: BadRequestError, field: str) -> bool:
    """Return whether the service refused a request because of one field, so that nothing was done."""
    if not error.from_service:
        return False
    violations: object = error.details.get("violations")
    named = [each.get("field") for each in violations if is_object(each)] if is_array(violations) else []
    return field in error.message or any(str(name).rpartition(".")[2] == field for name in named)


def _derived(key: str) -> str:
    """Derive a key for the other form of a request. The same key gives the same result, so nothing runs twice."""
    return sha256(b"whole seconds\0" + key.encode()).hexdigest()[:32]


__all__ = ["posting"]
