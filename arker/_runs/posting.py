"""Posting a run in a form that its server takes."""

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
    """Post a run; where a server refuses a fraction of a second, once more with its timeout rounded up.

    Args:
        request: What to run.
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
    """Whether the service itself has refused a request, so that nothing was done, because of one of its fields."""
    if not error.from_service:
        return False
    violations: object = error.details.get("violations")
    named = [each.get("field") for each in violations if is_object(each)] if is_array(violations) else []
    return field in error.message or any(str(name).rpartition(".")[2] == field for name in named)


def _derived(key: str) -> str:
    """Make a key for the other form of a request; the same key gives the same one, so that nothing runs twice."""
    return sha256(b"whole seconds\0" + key.encode()).hexdigest()[:32]


__all__ = ["posting"]
