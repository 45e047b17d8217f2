"""The server's errors, by the codes of generation 1; `arker.emulator.server.generation` gives them their form."""

from __future__ import annotations

import errno
import importlib
from collections.abc import Mapping
from typing import Any, Final

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.pressure import lack

STATUSES: Final[Mapping[str, int]] = {
    "bad_request": 400,
    "insufficient_resources": 400,
    "unauthorized": 401,
    "payment_required": 402,
    "forbidden": 403,
    "action_required": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "already_exists": 409,
    "idempotency_conflict": 409,
    "invalid_state": 409,
    "resource_busy": 409,
    "expired": 410,
    "payload_too_large": 413,
    "unsupported_operation": 422,
    "operation_failed": 422,
    "unrecoverable": 422,
    "rate_limited": 429,
    "quota_exceeded": 429,
    "internal": 500,
    "unavailable": 503,
    "capacity_unavailable": 503,
    "gateway_timeout": 504,
}
"""The 24 codes and their statuses. The usual code of a status comes first."""

_RENAMED: Final = {"resource_pressure": "capacity_unavailable", "not_implemented": "unsupported_operation"}
"""Codes of sandboxes that generation 1 calls otherwise."""
_QUOTA: Final[Mapping[str, Any]] = {
    "limit": {"metric": "vcpus", "unit": "vcpus"},
    "scope": {"kind": "organization"},
    "enforcement": "global",
    "measurements": {"kind": "unmeasured"},
}
_ABOUT: Final[Mapping[str, Any]] = {"resource": "resource"}
_DETAILS: Final[Mapping[str, Mapping[str, Any]]] = {
    "not_found": _ABOUT,
    "conflict": _ABOUT,
    "resource_busy": _ABOUT,
    "already_exists": _ABOUT,
    "expired": _ABOUT,
    "invalid_state": {"resource": {"kind": "resource"}, "requirement": "running"},
    "insufficient_resources": {"resource": "memory"},
    "method_not_allowed": {"allowed_methods": ["GET"]},
    "unsupported_operation": {"reason": "feature_not_supported"},
    "unrecoverable": {"resource": {"kind": "resource"}},
    "capacity_unavailable": {"scope": "worker"},
    "rate_limited": {"limiter": "arker"},
    "quota_exceeded": _QUOTA,
    "action_required": {"action": "add_payment_method"},
    "operation_failed": {"reason": "command_failed"},
}
"""The details of codes that are never without."""


class ServiceError(Exception):
    """An error that is sent as an error body.

    Attributes:
        code: The error code.
        message: For people; never holds a token or a signature.
        status: HTTP status; the code's own unless the protocol asks for another one (411, 412, 416).
        given_status: The status that was asked for; None for the code's own.
        headers: Header fields to send along.
        details: What belongs to the code.
        retry_after: Seconds after which another attempt may succeed.
        verbatim: Whether the code is sent as it is in every generation: a test has chosen it.
        more: Further members of the error, which a test has chosen.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        resource: str | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
        verbatim: bool = False,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.given_status = status
        self.status = STATUSES.get(code, 500) if status is None else status
        self.headers = dict(headers or {})
        own = {} if resource is None else {"resource": resource}
        self.details: Mapping[str, Any] = {**own, **(details or {})} or _DETAILS.get(code, {})
        self.retry_after = retry_after
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)
        self.verbatim = verbatim
        self.more = dict(more or {})


EMPTY: Final = '""'
"""What messages call a member whose name is empty."""


def invalid(name: str, expected: str) -> ServiceError:
    """Return the error for a field with a wrong value."""
    name = name or EMPTY
    violations = [{"field": name, "message": f"expected {expected}"}]
    return ServiceError("bad_request", f"{name}: expected {expected}", details={"violations": violations})


def missing(resource: str, message: str) -> ServiceError:
    """Return the error for something that does not exist."""
    return ServiceError("not_found", message, resource=resource)


def taken(resource: str, message: str) -> ServiceError:
    """Return the error for a name that something has already."""
    return ServiceError("already_exists", message, resource=resource)


def unsupported(message: str, feature: str | None = None) -> ServiceError:
    """Return the error for something that the embedded backend cannot do."""
    details = {"reason": "feature_not_supported"} | ({} if feature is None else {"feature": feature})
    return ServiceError("unsupported_operation", message, details=details)


def lacking(reason: str) -> ServiceError:
    """Return the error for a lack of this machine's resources."""
    about = "disk" if "disk" in reason else "memory" if "memory" in reason else None
    return ServiceError(
        "capacity_unavailable", reason, details={"scope": "worker"} | ({} if about is None else {"resource": about})
    )


def from_lack(error: BaseException) -> ServiceError | None:
    """Return the error for an exception that is about a lack of resources; None for any other."""
    reason = lack(error)
    return None if reason is None else lacking(reason)


def from_os(error: OSError, what: str, *, named: bool = False) -> ServiceError:
    """Return the error for an error of the system. ``what`` says what could not be done.

    For files it is ``named``: the message begins with the reason's name, such as ``ENOSPC``.
    """
    refusal = from_lack(error) or ServiceError("internal", f"{what}: {error.strerror}")
    reason = errno.errorcode.get(error.errno or 0)
    if named and reason is not None:
        refusal.message = f"{reason}: {refusal.message}"
    return refusal


def from_sandbox(error: SandboxError, resource: str = "vm") -> ServiceError:
    """Return the error for one of a sandbox, which is about this kind of resource."""
    code = _RENAMED.get(error.code, error.code)
    if code == "capacity_unavailable":
        return lacking(str(error))
    if code not in STATUSES:
        code = "internal"
    if code == "unrecoverable":  # its details have an object there
        return ServiceError(code, str(error), details={"resource": {"kind": "vm"}})
    return ServiceError(code, str(error), resource=resource if code in {"not_found", "conflict"} else None)


def from_file(error: SandboxError, field: str = "path") -> ServiceError:
    """Return the error for a file of a VM, which begins with the reason's name in ``errno``, such as ``EISDIR``."""
    refusal = from_sandbox(error, "file")
    if error.reason is not None:
        refusal.message = f"{error.reason}: {error}"
        if refusal.code == "bad_request":
            refusal.details = {"violations": [{"field": field, "message": refusal.message}]}
    return refusal


def require_http(what: str) -> None:
    """Check that h11 is installed, for features that need it. Raises `ServiceError`."""
    try:
        importlib.import_module("h11")
    except ImportError:
        message = (
            f"{what}: the library h11 is missing: install arker-async[emulator] (pip install 'arker-async[emulator]')"
        )
        raise unsupported(message) from None


__all__ = [
    "STATUSES",
    "ServiceError",
    "from_file",
    "from_lack",
    "from_os",
    "from_sandbox",
    "invalid",
    "lacking",
    "missing",
    "require_http",
    "taken",
    "unsupported",
]
