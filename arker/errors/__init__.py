"""The exceptions of this package.

    ArkerError
    ├── ConfigurationError          the client cannot be created or used like this; nothing was sent
    ├── InvalidArgumentError        an argument is rejected before anything is sent (also a ValueError)
    ├── NetworkError                no usable reply arrived (code ``network_error``, status 0)
    │   └── NetworkTimeoutError     ... within a connect or no-progress bound (also a TimeoutError)
    ├── DeadlineExceededError       the caller's ``deadline=`` passed (also a TimeoutError)
    ├── RunFailedError              ``check=True`` and the command did not succeed; carries its output
    ├── CommandNotRunError          what a command needs could not be given to it
    │   └── WorkingDirectoryError   its ``cwd`` is no directory that can be entered (also a FileNotFoundError)
    ├── RunNotFinishedError         the result of a run was requested before the run has ended
    ├── OutputChangedError          a run's output no longer begins with what was returned before
    ├── TerminalClosedError         a terminal has ended or was closed
    ├── TunnelClosedError           a tunnel is closed, or was never opened
    ├── FleetError                  too few VMs could be forked, or some could not be deleted; carries each failure
    ├── EmulatorError               the embedded backend could not start or has died
    │   └── StateDirectoryError     ... since its state directory is in use, damaged or not its own
    ├── TransferError               a file could not be transferred, for a reason other than a server's error reply
    │   ├── DirectoryConflictError  a directory cannot be copied without removing something; carries the plan
    │   ├── FileChangedError        the file changed while it was read, here or in the VM
    │   ├── FileTooLargeError       the file is larger than the limit for memory
    │   ├── IntegrityError          the received data differs from the data that was sent
    │   └── LocalFileError          the local file could not be read or written (also an OSError)
    └── ApiError                    the server replied with an error; a subclass for each code
        ├── BadRequestError         ``bad_request``
        │   ├── BadCursorError      an iteration over a list cannot continue; carries where to resume
        │   └── InsufficientResourcesError  ``insufficient_resources``
        ├── UnauthorizedError       ``unauthorized``
        ├── PaymentRequiredError    ``payment_required``
        ├── ForbiddenError          ``forbidden``
        │   └── ActionRequiredError  ``action_required``
        ├── NotFoundError           ``not_found``
        │   ├── ExpiredError        ``expired``
        │   └── VMGoneError         the VM of a run in progress no longer exists; carries the output read so far
        ├── ConflictError           ``conflict``
        │   ├── AlreadyExistsError  ``already_exists``
        │   ├── ResourceBusyError   ``resource_busy``
        │   ├── InvalidStateError   ``invalid_state``
        │   └── IdempotencyConflictError  ``idempotency_conflict``
        ├── PayloadTooLargeError    ``payload_too_large``
        ├── UnsupportedOperationError  ``unsupported_operation``
        ├── UnrecoverableError      ``unrecoverable``
        ├── OperationFailedError    ``operation_failed``
        ├── RateLimitedError        HTTP 429 with any code
        │   └── QuotaExceededError  ``quota_exceeded``
        ├── OperationNotImplementedError  ``not_implemented``
        │   └── MethodNotAllowedError  ``method_not_allowed``
        ├── ResourcePressureError   ``resource_pressure``
        ├── UnavailableError        ``unavailable``
        │   ├── CapacityUnavailableError  ``capacity_unavailable`` (also a ResourcePressureError)
        │   └── GatewayTimeoutError  ``gateway_timeout``
        ├── InternalError           ``internal``
        │   └── BadReplyError       the reply violates the contract (names the place in the payload)
        └── RemoteFileError         the VM's system refused an operation on a file (also an OSError, with its errno)
            ├── RemoteFileNotFoundError   also a NotFoundError and a FileNotFoundError
            ├── RemotePermissionError     also a BadRequestError and a PermissionError
            ├── RemoteIsADirectoryError   also a BadRequestError and an IsADirectoryError
            ├── RemoteNotADirectoryError  also a BadRequestError and a NotADirectoryError
            ├── RemoteFileExistsError     also a ConflictError and a FileExistsError
            ├── RemoteNoSpaceError        also a ResourcePressureError
            └── RemotePathError           also a BadRequestError: any other reason

No message, attribute or representation of an error contains the API key or the query of a presigned URL.
"""

from __future__ import annotations

from arker.errors.api import (
    ActionRequiredError,
    AlreadyExistsError,
    ApiError,
    BadCursorError,
    BadReplyError,
    BadRequestError,
    CapacityUnavailableError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    GatewayTimeoutError,
    IdempotencyConflictError,
    InsufficientResourcesError,
    InternalError,
    InvalidStateError,
    MethodNotAllowedError,
    NotFoundError,
    OperationFailedError,
    OperationNotImplementedError,
    PayloadTooLargeError,
    PaymentRequiredError,
    QuotaExceededError,
    RateLimitedError,
    Recovery,
    ResourceBusyError,
    ResourcePressureError,
    UnauthorizedError,
    UnavailableError,
    UnrecoverableError,
    UnsupportedOperationError,
    VMGoneError,
)
from arker.errors.base import (
    ArkerError,
    ConfigurationError,
    DeadlineExceededError,
    EmulatorError,
    ErrorCode,
    InvalidArgumentError,
    NetworkError,
    NetworkTimeoutError,
    Outcome,
    StateDirectoryError,
    StateDirectoryReason,
)
from arker.errors.files import (
    DirectoryConflictError,
    FileChangedError,
    FileTooLargeError,
    IntegrityError,
    LocalFileError,
    TransferError,
)
from arker.errors.remote import (
    RemoteFileError,
    RemoteFileExistsError,
    RemoteFileNotFoundError,
    RemoteIsADirectoryError,
    RemoteNoSpaceError,
    RemoteNotADirectoryError,
    RemotePathError,
    RemotePermissionError,
)
from arker.errors.runs import (
    CommandNotRunError,
    FleetError,
    OutputChangedError,
    RunFailedError,
    RunNotFinishedError,
    TerminalClosedError,
    TunnelClosedError,
    WorkingDirectoryError,
)

__all__ = [
    "ActionRequiredError",
    "AlreadyExistsError",
    "ApiError",
    "ArkerError",
    "BadCursorError",
    "BadReplyError",
    "BadRequestError",
    "CommandNotRunError",
    "CapacityUnavailableError",
    "ConfigurationError",
    "ConflictError",
    "DeadlineExceededError",
    "DirectoryConflictError",
    "EmulatorError",
    "ErrorCode",
    "ExpiredError",
    "FileChangedError",
    "FileTooLargeError",
    "FleetError",
    "ForbiddenError",
    "GatewayTimeoutError",
    "IdempotencyConflictError",
    "InsufficientResourcesError",
    "IntegrityError",
    "InternalError",
    "InvalidArgumentError",
    "InvalidStateError",
    "LocalFileError",
    "MethodNotAllowedError",
    "NetworkError",
    "NetworkTimeoutError",
    "NotFoundError",
    "OperationFailedError",
    "OperationNotImplementedError",
    "Outcome",
    "OutputChangedError",
    "PayloadTooLargeError",
    "PaymentRequiredError",
    "QuotaExceededError",
    "RateLimitedError",
    "RemoteFileError",
    "RemoteFileExistsError",
    "RemoteFileNotFoundError",
    "RemoteIsADirectoryError",
    "RemoteNoSpaceError",
    "RemoteNotADirectoryError",
    "RemotePathError",
    "RemotePermissionError",
    "Recovery",
    "ResourceBusyError",
    "ResourcePressureError",
    "RunFailedError",
    "RunNotFinishedError",
    "StateDirectoryError",
    "StateDirectoryReason",
    "TerminalClosedError",
    "TransferError",
    "TunnelClosedError",
    "UnauthorizedError",
    "UnavailableError",
    "UnrecoverableError",
    "UnsupportedOperationError",
    "VMGoneError",
    "WorkingDirectoryError",
]


def _at_home() -> None:
    """Set the classes' module to this public one, for tracebacks and pickles."""
    for name in __all__:
        each: object = globals()[name]
        if isinstance(each, type):
            each.__module__ = __name__


_at_home()
