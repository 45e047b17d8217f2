"""Everything that this package raises.

    ArkerError
    ├── ConfigurationError          the client cannot be built or used like this; nothing was sent
    ├── InvalidArgumentError        an argument is refused before anything is sent (also a ValueError)
    ├── NetworkError                no usable answer arrived (code ``network_error``, status 0)
    │   └── NetworkTimeoutError     ... within a connect or no-progress bound (also a TimeoutError)
    ├── DeadlineExceededError       the caller's ``deadline=`` passed (also a TimeoutError)
    ├── RunFailedError              ``check=True`` and the command did not succeed; carries its output
    ├── RunNotFinishedError         the result of a run was asked for that is still going on
    ├── OutputChangedError          a run's output is not any more what was handed out of it
    ├── TunnelClosedError           a tunnel is closed, or was never opened
    ├── FleetError                  a fleet has fewer VMs than are needed, or could not be deleted; carries each failure
    ├── EmulatorError               the embedded backend could not start or has died
    ├── TransferError               a file could not be moved, for a reason that no server's answer names
    │   ├── DirectoryConflictError  a directory cannot be copied without removing something; carries the plan
    │   ├── FileChangedError        it changed while it was read, here or in the VM
    │   ├── FileTooLargeError       it is larger than what may be read into memory
    │   ├── IntegrityError          what arrived is not what was sent
    │   └── LocalFileError          the file on this side could not be read or written (also an OSError)
    └── ApiError                    the server answered with an error; a subclass for each code
        ├── BadRequestError         ``bad_request``
        │   └── BadCursorError      a list cannot be gone on with; says where to take it up again
        ├── UnauthorizedError       ``unauthorized``
        ├── ForbiddenError          ``forbidden``
        ├── NotFoundError           ``not_found``
        │   └── VMGoneError         the VM of a run that was waited for has gone; carries what was captured
        ├── ConflictError           ``conflict``
        ├── PayloadTooLargeError    ``payload_too_large``
        ├── UnsupportedOperationError  ``unsupported_operation``
        ├── RateLimitedError        HTTP 429, whatever its code
        ├── OperationNotImplementedError  ``not_implemented``
        ├── ResourcePressureError   ``resource_pressure``
        ├── UnavailableError        ``unavailable``
        └── InternalError           ``internal``
            └── BadReplyError       the reply is not what the contract says (names the place in the payload)

No message, attribute or representation of an error ever holds the API key or the query of a presigned URL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import arker
from arker._pickling import as_pickled
from arker._shown import shown as _shown
from arker._typing import Self

ErrorCode: TypeAlias = Literal[
    "unsupported_operation",
    "bad_request",
    "unauthorized",
    "forbidden",
    "not_found",
    "conflict",
    "payload_too_large",
    "not_implemented",
    "resource_pressure",
    "internal",
    "unavailable",
    "network_error",
]
"""The codes that the contract names (section 3). The set is open: an unknown code is kept as it came."""

Outcome: TypeAlias = Literal["not_started", "unknown", "applied"]
"""What is known of the operation's effect on the server when an error is raised."""


class ArkerError(Exception):
    """Base of every error that this package raises.

    Attributes:
        message: What went wrong, without the context that ``str()`` adds.
        code: The error code, from the server or made by the client (contract, section 3).
        status: HTTP status of the answer that says so; 0 where there was none, or the client has concluded it itself.
        operation: Name of the operation, such as ``"vm.run"``, or None outside of one.
        request_id: The server's ``x-request-id``, if it sent one.
        retry_after: Seconds that the server asked to wait, if it did.
        attempts: How many requests were tried, over the whole operation.
        outcome: ``"not_started"`` (the operation had no effect), ``"unknown"`` (it may have taken place) or
            ``"applied"`` (it did take place).
        idempotency_key: The key under which the request was sent, if it had one; sending the same request with this key
            again cannot repeat its effect.
        vm_id: The VM that the request was about, as it was named there; None where it was about none.
        run_id: The run that it was about; None where it was about none.
        session_id: A session that the reply named; None where it named none.
        file: The path in the VM of the file or directory that it is about; None where it is about none.
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
    """The client cannot be built or used like this. Nothing was sent, unless ``outcome`` says otherwise."""

    default_code = "configuration_error"


class InvalidArgumentError(ArkerError, ValueError):
    """An argument was refused before anything was sent.

    Attributes:
        argument: Name of the argument.
        value: What was given.
        expected: What would be right.
    """

    default_code = "invalid_argument"

    def __init__(self, argument: str, value: object, expected: str) -> None:
        try:
            shown = repr(value)
        except Exception:
            # What cannot even be shown (an integer of 5,000 digits, a broken __repr__) is refused like anything else.
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
    """No usable answer arrived: the connection could not be made, was lost, or stalled."""

    default_code = "network_error"


class NetworkTimeoutError(NetworkError, TimeoutError):
    """A connection was not made, or made no progress, within the bounds of ``HttpTimeouts``."""


class DeadlineExceededError(ArkerError, TimeoutError):
    """The caller's ``deadline=`` passed before the operation was over."""

    default_code = "deadline_exceeded"


class RunFailedError(ArkerError):
    """A command run with ``check=True`` did not succeed: a non-zero exit code, or a state other than ``completed``.

    Attributes:
        result: The whole result of the run.
        stdout: What it wrote to standard output, as bytes.
        stderr: What it wrote to standard error, as bytes.
        exit_code: Its exit code; None, or -1, when there was none.
    """

    default_code = "run_failed"

    def __init__(self, result: arker.CompletedRunResult) -> None:
        if result.exit_code is None and result.state == "completed":
            what = "the command has no exit code"
        elif result.state == "completed":
            what = f"the command exited with {result.exit_code}"
        else:
            what = f"the run is {result.state}: {result.fail_reason or 'no reason given'}"
        tail = result.stderr_text.strip()[-500:]
        super().__init__(
            f"{what}; stderr ends with {tail!r}" if tail else what, outcome="applied", run_id=result.run_id
        )
        self.args = (result,)
        self.result = result
        self.stdout = result.stdout
        self.stderr = result.stderr
        self.exit_code = result.exit_code


class RunNotFinishedError(ArkerError):
    """The result of a run was asked for that is still going on."""

    default_code = "run_not_finished"


class OutputChangedError(ArkerError):
    """A run's output, read again, does not begin with what was handed out of it before.

    So it is when the platform has taken up the run a second time (durable VMs).

    Attributes:
        stream: ``stdout`` or ``stderr``.
        handed_out: Bytes of it that had been handed out.
    """

    default_code = "output_changed"

    def __init__(self, message: str, *, stream: str = "", handed_out: int = 0, **context: Any) -> None:
        super().__init__(message, **context)
        self.stream = stream
        self.handed_out = handed_out


class TunnelClosedError(ArkerError):
    """A tunnel is closed, or was never opened; the message says why, if the server did.

    Attributes:
        port: The port of the VM.
    """

    default_code = "tunnel_closed"

    def __init__(self, message: str, *, port: int = 0, **context: Any) -> None:
        super().__init__(message, **context)
        self.port = port


class FleetError(ArkerError):
    """Of a fleet's VMs, too few could be forked, none is left, or some could not be deleted.

    Attributes:
        errors: What each VM failed with.
        vm_ids: VMs that could not be deleted and may still exist.
    """

    default_code = "fleet_failed"

    def __init__(
        self, message: str, *, errors: Sequence[ArkerError] = (), vm_ids: Sequence[str] = (), **context: Any
    ) -> None:
        super().__init__(message, **context)
        self.errors = tuple(errors)
        self.vm_ids = tuple(vm_ids)


class EmulatorError(ArkerError):
    """The embedded backend could not start, or has died."""

    default_code = "emulator_error"
    _has_lines = True  # the end of its log


class TransferError(ArkerError):
    """A file could not be moved, for a reason that no server's answer names."""

    default_code = "transfer_failed"


class DirectoryConflictError(TransferError):
    """A directory cannot be copied without removing what must not be removed. Nothing was changed.

    Attributes:
        plan: What would be done; ``plan.conflicts`` are what is in the way.
    """

    default_code = "directory_conflict"

    def __init__(self, plan: arker.DirectoryReport) -> None:
        first, *others = plan.conflicts
        more = f" (and {len(others)} more like it)" if others else ""
        super().__init__(f"{first.shown_path}: {first.reason}{more}; nothing was changed")
        self.args = (plan,)
        self.plan = plan


class FileChangedError(TransferError):
    """A file changed while it was read, on this side or in the VM; nothing that is a mixture was written."""

    default_code = "file_changed"


class FileTooLargeError(TransferError):
    """A file of the VM is larger than the caller wants in memory: `AsyncVM.download` writes one of any size to a file.

    Attributes:
        size: Bytes of the file.
        max_bytes: Bytes that were to be read at most.
    """

    default_code = "file_too_large"

    def __init__(self, message: str, *, size: int = 0, max_bytes: int = 0, **context: Any) -> None:
        super().__init__(message, **context)
        self.size = size
        self.max_bytes = max_bytes


class IntegrityError(TransferError):
    """What arrived is not what was sent: its size or its digest is another one."""

    default_code = "integrity"


class LocalFileError(TransferError, OSError):
    """A file on this side could not be read or written: it is not there, is a directory, or the disk is full.

    The system's own error is its ``__cause__``.

    Attributes:
        errno: The system's number for it, such as `errno.ENOENT`.
        filename: The file.
    """

    default_code = "local_file"

    def __init__(self, error: OSError, filename: str | None = None) -> None:
        name = filename if filename is not None else error.filename
        reason = error.strerror or str(error)
        super().__init__(f"{name}: {reason}" if name is not None else reason)
        self.args = (error.errno, error.strerror, name)
        self.errno = error.errno
        self.strerror = error.strerror
        self.filename = name

    def __reduce__(self) -> tuple[Any, ...]:
        # That of OSError would make it of these arguments themselves.
        return _local_file_error, self.args, self.__dict__


def _local_file_error(number: int, reason: str, filename: str | None) -> LocalFileError:
    return LocalFileError(OSError(number, reason), filename)


class ApiError(ArkerError):
    """The server answered with an error. Codes without a class of their own are raised as this one.

    Attributes:
        from_service: Whether the service itself said so, in the contract's words; otherwise it may have been a proxy
            before it, which does not know whether the operation took place.
        details: What else the server said of it, as it came.
        work: What the server says of the work that was asked for (``not_started``, ``stopped``, ``continuing``,
            ``unknown``), if it does.
    """

    from_service: bool = False
    work: str | None = None

    def __init__(self, message: str, **context: Any) -> None:
        super().__init__(message, **context)
        self.details: dict[str, Any] = {}


class BadRequestError(ApiError):
    """The server refused the request's content (``bad_request``)."""

    default_code = "bad_request"


class BadCursorError(BadRequestError):
    """A list that was gone through cannot be gone on with: the server refuses the cursor that it gave itself.

    To go on, begin at ``resume_cursor`` (None is the beginning of the list), and leave out the first ``items_of_page``.

    Attributes:
        resume_cursor: The cursor of the last page that came.
        items_given: Items that were handed out, in all.
        items_of_page: Those of them that were on that page.
    """

    def __init__(
        self,
        message: str,
        *,
        resume_cursor: str | None = None,
        items_given: int = 0,
        items_of_page: int = 0,
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.resume_cursor = resume_cursor
        self.items_given = items_given
        self.items_of_page = items_of_page

    @classmethod
    def of(
        cls, error: BadRequestError, *, resume_cursor: str | None, items_given: int, items_of_page: int
    ) -> BadCursorError:
        """The error that says more than a plain refusal does."""
        begin = "its beginning" if resume_cursor is None else "resume_cursor"
        raised = cls(
            f"the list broke off after {items_given} items: {error.message}; it can be taken up again at {begin}, "
            f"whose first {items_of_page} items are known already",
            resume_cursor=resume_cursor,
            items_given=items_given,
            items_of_page=items_of_page,
        )
        for name in ("code", "status", "operation", "request_id", "attempts", "outcome", "vm_id", "run_id"):
            setattr(raised, name, getattr(error, name))
        return raised


class UnauthorizedError(ApiError):
    """The API key is missing, wrong or expired (``unauthorized``)."""

    default_code = "unauthorized"


class ForbiddenError(ApiError):
    """The API key does not allow this (``forbidden``)."""

    default_code = "forbidden"


class NotFoundError(ApiError):
    """There is no such VM, run, file or other object (``not_found``)."""

    default_code = "not_found"


class VMGoneError(NotFoundError):
    """The VM in which a command was running has gone: deleted by somebody, or lost.

    Attributes:
        stdout: What had been read of the command's standard output by then, as bytes.
        stderr: The same of standard error.
    """

    def __init__(self, message: str, *, stdout: bytes = b"", stderr: bytes = b"", **context: Any) -> None:
        facts: dict[str, Any] = {"status": 404, "outcome": "unknown", **context}
        super().__init__(message, **facts)
        self.stdout = stdout
        self.stderr = stderr


class ConflictError(ApiError):
    """The request contradicts what is there: a name or path taken, a key used for another request (``conflict``)."""

    default_code = "conflict"


class PayloadTooLargeError(ApiError):
    """One request held more than the server takes (``payload_too_large``)."""

    default_code = "payload_too_large"


class UnsupportedOperationError(ApiError):
    """This server, image or VM cannot do this (``unsupported_operation``)."""

    default_code = "unsupported_operation"


class RateLimitedError(ApiError):
    """Too many requests (HTTP 429, whatever the code); ``retry_after`` says how long to wait, if the server did."""

    default_code = "rate_limited"


class OperationNotImplementedError(ApiError):
    """The server does not know this operation (``not_implemented``)."""

    default_code = "not_implemented"


class ResourcePressureError(ApiError):
    """The service lacks the resources at the moment (``resource_pressure``)."""

    default_code = "resource_pressure"


class UnavailableError(ApiError):
    """The service is unavailable at the moment (``unavailable`` and its kin)."""

    default_code = "unavailable"


class InternalError(ApiError):
    """The server failed (``internal``)."""

    default_code = "internal"


class BadReplyError(InternalError):
    """The reply is not what the contract says.

    Attributes:
        path: Where in the payload, such as ``$.vms[3].sessions[0].cwd``; ``$`` is the whole of it.
        is_json: Whether it is JSON at all; a page of HTML comes from a proxy.
        stdout: What had been read by then of the standard output of a run that was followed, as bytes.
        stderr: The same of standard error.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str = "$",
        is_json: bool = True,
        stdout: bytes = b"",
        stderr: bytes = b"",
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.path = path
        self.is_json = is_json
        self.stdout = stdout
        self.stderr = stderr


def is_gone(error: BaseException) -> bool:
    """Whether an error says that what was asked for is not there (any more), whatever the HTTP status was."""
    return isinstance(error, NotFoundError)


def is_surely_gone(error: BaseException) -> bool:
    """Whether the service itself says so; a page that says "not found" may be a proxy's, and proves nothing."""
    return isinstance(error, NotFoundError) and error.from_service


_BY_CODE: dict[str, type[ApiError]] = {
    "bad_request": BadRequestError,
    "unauthorized": UnauthorizedError,
    "forbidden": ForbiddenError,
    "not_found": NotFoundError,
    "conflict": ConflictError,
    "payload_too_large": PayloadTooLargeError,
    "unsupported_operation": UnsupportedOperationError,
    "not_implemented": OperationNotImplementedError,
    "resource_pressure": ResourcePressureError,
    "unavailable": UnavailableError,
    "routing_unavailable": UnavailableError,
    "temporarily_unavailable": UnavailableError,
    "internal": InternalError,
}

_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    413: PayloadTooLargeError,
    501: OperationNotImplementedError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def api_error_class(code: str, status: int) -> type[ApiError]:
    """The class for an answer: by its code, and by its HTTP status when the code is unknown."""
    if status == 429:
        return RateLimitedError
    return _BY_CODE.get(code) or _BY_STATUS.get(status, ApiError)


__all__ = [
    "ApiError",
    "ArkerError",
    "BadCursorError",
    "BadReplyError",
    "BadRequestError",
    "ConfigurationError",
    "ConflictError",
    "DeadlineExceededError",
    "DirectoryConflictError",
    "EmulatorError",
    "ErrorCode",
    "FileChangedError",
    "FileTooLargeError",
    "FleetError",
    "ForbiddenError",
    "IntegrityError",
    "InternalError",
    "InvalidArgumentError",
    "LocalFileError",
    "NetworkError",
    "NetworkTimeoutError",
    "NotFoundError",
    "OperationNotImplementedError",
    "Outcome",
    "OutputChangedError",
    "PayloadTooLargeError",
    "RateLimitedError",
    "ResourcePressureError",
    "RunFailedError",
    "RunNotFinishedError",
    "TunnelClosedError",
    "TransferError",
    "UnauthorizedError",
    "UnavailableError",
    "UnsupportedOperationError",
    "VMGoneError",
]
