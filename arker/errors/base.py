"""The base of all errors, and the errors without a server's reply."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from arker._basics.pickling import as_pickled
from arker._basics.shown import shown as _shown
from arker._basics.typing import Self

ErrorCode: TypeAlias = Literal[
    "bad_request",
    "insufficient_resources",
    "unauthorized",
    "payment_required",
    "forbidden",
    "action_required",
    "not_found",
    "expired",
    "conflict",
    "already_exists",
    "resource_busy",
    "invalid_state",
    "idempotency_conflict",
    "payload_too_large",
    "method_not_allowed",
    "unsupported_operation",
    "unrecoverable",
    "operation_failed",
    "rate_limited",
    "quota_exceeded",
    "not_implemented",
    "resource_pressure",
    "capacity_unavailable",
    "unavailable",
    "gateway_timeout",
    "internal",
    "network_error",
]
"""The error codes of both generations of the API (section 3). The set is open: an unknown code is kept unchanged."""


Outcome: TypeAlias = Literal["not_started", "unknown", "applied"]
"""The known effect of an operation on the server when an error is raised."""

StateDirectoryReason: TypeAlias = Literal["in_use", "damaged", "newer", "foreign", "mismatched", "unusable"]
"""Why a state directory cannot be used."""


class ArkerError(Exception):
    """The base of every error that this package raises.

    Attributes:
        message: What went wrong, without the context that ``str()`` adds.
        code: The error code, from the server or the client (contract, section 3).
        status: HTTP status of the reply with the error; 0 if there was no reply, or the client itself detected the
            error.
        operation: Name of the operation, such as ``"vm.run"``, or None outside of one.
        request_id: The server's ``x-request-id``; None if it sent none.
        retry_after: Seconds to wait according to the server; None if it did not say.
        attempts: Number of attempted requests in the whole operation.
        outcome: ``"not_started"`` (the operation had no effect), ``"unknown"`` (it may have been executed) or
            ``"applied"`` (it was executed).
        idempotency_key: The request's idempotency key; None if it had none. Sending the same request again with this
            key cannot repeat its effect.
        vm_id: The VM that the request named; None if it named none.
        run_id: The run that the request named; None if it named none.
        session_id: A session that the reply named; None if it named none.
        file: The path in the VM of the file or directory concerned; None if there is none.
    """

    default_code: str = "internal"
    _has_lines: bool = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int = 0,
        operation: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        attempts: int = 0,
        outcome: Outcome = "not_started",
        idempotency_key: str | None = None,
        vm_id: str | None = None,
        run_id: str | None = None,
        session_id: str | None = None,
        file: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code
        self.status = status
        self.operation = operation
        self.request_id = request_id
        self.retry_after = retry_after
        self.attempts = attempts
        self.outcome: Outcome = outcome
        self.idempotency_key = idempotency_key
        self.vm_id = vm_id
        self.run_id = run_id
        self.session_id = session_id
        self.file = file

    def __str__(self) -> str:
        facts = [f"code {_shown(self.code)}"]
        if self.status:
            facts.append(f"HTTP {self.status}")
        if self.attempts > 1:
            facts.append(f"{self.attempts} attempts")
        if self.vm_id is not None:
            facts.append(f"VM {_shown(self.vm_id)}")
        if self.run_id is not None:
            facts.append(f"run {_shown(self.run_id)}")
        if self.session_id is not None:
            facts.append(f"session {_shown(self.session_id)}")
        if self.file is not None:
            facts.append(f"file {_shown(self.file)}")
        if self.retry_after is not None:
            facts.append(f"retry after {self.retry_after:g} s")
        if self.request_id:
            facts.append(f"request {_shown(self.request_id)}")
        if self.outcome != "not_started":
            facts.append(f"outcome {self.outcome}")
        where = f"{self.operation}: " if self.operation else ""
        return f"{where}{_shown(self.message, lines=self._has_lines)} ({', '.join(facts)})"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {str(self)!r}>"

    def with_context(self, **facts: Any) -> Self:
        """Set attributes named in ``facts`` on this error and return it."""
        for name, value in facts.items():
            setattr(self, name, value)
        return self


class ConfigurationError(ArkerError):
    """The client cannot be created or used like this. Nothing was sent, unless ``outcome`` says otherwise."""

    default_code = "configuration_error"


class InvalidArgumentError(ArkerError, ValueError):
    """An argument was rejected before anything was sent.

    Attributes:
        argument: Name of the argument.
        value: The given value.
        expected: The expected value.
    """

    default_code = "invalid_argument"

    def __init__(self, argument: str, value: object, expected: str) -> None:
        try:
            shown = repr(value)
        except Exception:
            # A value that cannot be shown (an integer of 5,000 digits, a broken __repr__) must not cause another error.
            shown = f"<{type(value).__name__}>"
        if len(shown) > 120:
            shown = f"{shown[:100]}… ({type(value).__name__})"
        super().__init__(f"{argument}={shown} is not accepted: {expected}")
        self.args = (argument, value, expected)
        self.argument = argument
        self.value = value
        self.expected = expected

    def __reduce__(self) -> tuple[Any, ...]:
        value = as_pickled(self.value)
        state = {**self.__dict__, "value": value}
        return type(self), (self.argument, value, self.expected), state


class NetworkError(ArkerError):
    """No usable reply arrived: the connection could not be made, was lost, or stalled."""

    default_code = "network_error"


class NetworkTimeoutError(NetworkError, TimeoutError):
    """A connection was not made, or made no progress, within the bounds of ``HttpTimeouts``."""


class DeadlineExceededError(ArkerError, TimeoutError):
    """The caller's ``deadline=`` passed before the operation was over."""

    default_code = "deadline_exceeded"


class EmulatorError(ArkerError):
    """The embedded backend could not start, or has died."""

    default_code = "emulator_error"
    _has_lines = True  # the end of its log


class StateDirectoryError(EmulatorError):
    """The state directory of the embedded backend cannot be used. Nothing in it was changed.

    Attributes:
        path: The directory.
        reason: ``in_use`` (another backend has it), ``damaged``, ``newer`` (a newer version of this package has written
            it), ``foreign`` (it holds something else), ``mismatched`` (it was made under another isolation or by
            another user) or ``unusable`` (the system refuses it).
    """

    default_code = "state_directory"

    def __init__(
        self, message: str, *, path: str = "", reason: StateDirectoryReason = "unusable", **context: Any
    ) -> None:
        super().__init__(message, **context)
        self.path = path
        self.reason: StateDirectoryReason = reason


__all__ = [
    "ArkerError",
    "ConfigurationError",
    "DeadlineExceededError",
    "EmulatorError",
    "ErrorCode",
    "InvalidArgumentError",
    "NetworkError",
    "NetworkTimeoutError",
    "Outcome",
    "StateDirectoryError",
    "StateDirectoryReason",
]
