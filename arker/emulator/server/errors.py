"""The server's errors: a code of the contract, with the HTTP status that belongs to it (section 3)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Final

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.pressure import lack

STATUSES: Final[Mapping[str, int]] = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "payload_too_large": 413,
    "unsupported_operation": 422,
    "internal": 500,
    "not_implemented": 501,
    "unavailable": 503,
    "resource_pressure": 503,
}


class ServiceError(Exception):
    """An error that is sent as an error body.

    Attributes:
        code: The contract's error code.
        message: For people; never holds a token or a signature.
        status: HTTP status; the code's own unless the protocol asks for another one (411, 412, 416).
        headers: Header fields to send along.
    """

    def __init__(
        self, code: str, message: str, *, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = STATUSES.get(code, 500) if status is None else status
        self.headers = dict(headers or {})

    def body(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message}


def invalid(name: str, expected: str) -> ServiceError:
    """Return the error for a field with a wrong value."""
    return ServiceError("bad_request", f"{name}: expected {expected}")


def from_lack(error: BaseException) -> ServiceError | None:
    """Return the error for an exception that is about a lack of resources; None for any other."""
    reason = lack(error)
    return None if reason is None else ServiceError("resource_pressure", reason)


def from_os(error: OSError, what: str) -> ServiceError:
    """Return the error for an error of the system. ``what`` says what could not be done."""
    return from_lack(error) or ServiceError("internal", f"{what}: {error.strerror}")


def from_sandbox(error: SandboxError) -> ServiceError:
    code = error.code if error.code in STATUSES else "internal"
    return ServiceError(code, str(error))


def require_http(what: str) -> None:
    """Check that h11 is installed, for features that need it. Raises `ServiceError`."""
    try:
        importlib.import_module("h11")
    except ImportError:
        message = (
            f"{what}: the library h11 is missing: install arker-async[emulator] (pip install 'arker-async[emulator]')"
        )
        raise ServiceError("unsupported_operation", message) from None


__all__ = ["STATUSES", "ServiceError", "from_lack", "from_os", "from_sandbox", "invalid", "require_http"]
