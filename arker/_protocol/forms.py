"""What the two generations of the API say differently, and what each of them lacks. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from arker._protocol.codec.hooks import is_array, is_object
from arker._protocol.reply import concluded
from arker._protocol.request import Generation, Lack
from arker.errors import ApiError

# --- what a generation lacks -----------------------------------------------------------------------------------------


def unsupported(lack: Lack, operation: str) -> ApiError:
    """Return the error for a call that needs what a generation lacks."""
    message = f"generation {lack.generation} of the API does not have {lack.what}; instead: {lack.instead}"
    return concluded("unsupported_operation", message).with_context(operation=operation)


def lack_of(
    operation: str, request: object, only_earlier: Mapping[str, str], only_today: Mapping[str, str]
) -> Lack | None:
    """Return what one of the generations lacks of a request; None if both have all of it.

    Args:
        operation: The operation, for errors.
        request: The request.
        only_earlier: Its fields that only generation 0.5 has, and what to do instead in generation 1.
        only_today: Its fields that only generation 1 has, and what to do instead in generation 0.5.

    Raises:
        UnsupportedOperationError: No generation has all of it.
    """
    lack = _lack("1", request, only_earlier)
    other = _lack("0.5", request, only_today)
    if lack is not None and other is not None:
        first, second = lack.members[0], other.members[0]
        message = (
            f"no generation of the API has both {first} and {second}: only 0.5 has {first}, and only 1 has {second}"
        )
        raise concluded("unsupported_operation", message).with_context(operation=operation)
    return lack or other


def _lack(generation: Generation, request: object, fields: Mapping[str, str]) -> Lack | None:
    given = [name for name in fields if getattr(request, name) is not None]
    if not given:
        return None
    instead = "; ".join(dict.fromkeys(fields[name] for name in given))
    return Lack(generation, " and ".join(f"{name}=" for name in given), instead, tuple(given))


SET_TO_1: Final = Lack("0.5", "this request of generation 1", "make the client with generation='auto'")
"""What a server of generation 0.5 lacks of a request of a client that was set to generation 1."""
SET_TO_0_5: Final = Lack(
    "1",
    "this request of generation 0.5",
    "make the client with generation='auto'",
    ("vcpu_count", "memory_mib", "disk_mib", "network", "timeout"),
)
"""What a server of generation 1 lacks of a request of a client that was set to generation 0.5."""


def code_of(error: ApiError) -> str:
    """Return the code of an error, or that of its status for a reply without a code."""
    return error.default_code if error.code == "internal" and not error.from_service else error.code


def refuses(error: ApiError, lack: Lack) -> bool:
    """Return whether a server's error says that it does not know what generation 1 lacks."""
    code = code_of(error)
    if code == "not_found":
        # What does not exist may be the object, or the operation.
        missing = error.details.get("resource")
        return missing == "route" or (missing is None and error.matched is False)
    if code in ("method_not_allowed", "not_implemented"):
        return True
    if code != "bad_request":
        return False
    violations: object = error.details.get("violations")
    texts = [error.message]
    for each in violations if is_array(violations) else []:
        if is_object(each):
            texts += [f"{each.get('field')}: {each.get('message')}"]
    return any(
        member in text and any(word in text.lower() for word in _UNKNOWN) for text in texts for member in lack.members
    )


_UNKNOWN: Final = ("unknown", "unexpected", "unrecogni", "additional", "not allowed", "not accept", "no such", "extra")
"""Words for a member that the server does not know, unlike one with an invalid value."""


def lack_of_pending(state: str | Sequence[str] | None) -> Lack | None:
    """Return what generation 0.5 lacks of a filter of states: nothing of it is ever pending."""
    states = state.split(",") if isinstance(state, str) else state or ()
    return _PENDING if "pending" in states else None


_PENDING: Final = Lack("0.5", "state='pending'", "what waits is 'running'", ("state",))


# --- resources -------------------------------------------------------------------------------------------------------

_RESOURCES: Final = {"vcpu_count": "vcpu", "memory_mib": "memory_mib", "disk_mib": "disk_mib", "vgpu": "vgpu"}


def with_resources(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body of generation 0.5 with its sizes where generation 1 has them."""
    sizes = {today: body[name] for name, today in _RESOURCES.items() if name in body}
    rest = {name: value for name, value in body.items() if name not in _RESOURCES}
    return {**rest, "resources": sizes} if sizes else rest


__all__ = [
    "SET_TO_0_5",
    "SET_TO_1",
    "code_of",
    "lack_of",
    "lack_of_pending",
    "refuses",
    "unsupported",
    "with_resources",
]
