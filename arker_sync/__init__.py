# Generated from arker/__init__.py by "nox -s facade": change that file, not this one.
"""Arker VMs from blocking code: fork a VM, run commands in it, sync files in and out.

    from arker_sync import Arker

    with Arker(region="us-west-2") as ar:
        vm = ar.fork("ubuntu")
        result = vm.run("echo hi")
        vm.sync("/tmp/in.txt", b"hello")
        vm.delete()

``Arker.local()`` is the same client on an embedded backend that needs no account and no network.

(PYTEST_DONT_REWRITE: the distribution contains a pytest plugin, so pytest would warn if a program imports this package
before it starts pytest.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from arker import models
from arker._basics.lazy import lazily
from arker.errors import (
    ApiError,
    ArkerError,
    BadCursorError,
    BadReplyError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    DeadlineExceededError,
    DirectoryConflictError,
    EmulatorError,
    ErrorCode,
    FileChangedError,
    FileTooLargeError,
    FleetError,
    ForbiddenError,
    IntegrityError,
    InternalError,
    InvalidArgumentError,
    LocalFileError,
    NetworkError,
    NetworkTimeoutError,
    NotFoundError,
    OperationNotImplementedError,
    Outcome,
    OutputChangedError,
    PayloadTooLargeError,
    RateLimitedError,
    RemoteFileError,
    RemoteFileExistsError,
    RemoteFileNotFoundError,
    RemoteIsADirectoryError,
    RemoteNoSpaceError,
    RemoteNotADirectoryError,
    RemotePathError,
    RemotePermissionError,
    ResourcePressureError,
    RunFailedError,
    RunNotFinishedError,
    TransferError,
    TunnelClosedError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedOperationError,
    VMGoneError,
)

if TYPE_CHECKING:
    from arker._basics.names import ARKER_ORG_ID, GOLDEN_NAMES
    from arker.config import HttpTimeouts, RetryPolicy
    from arker.directories import DirectoryAction, DirectoryEntry, DirectoryReport, EntryKind
    from arker.entries import FileEntry, FileEvent, FileEventKind, FileKind, FileMatch, FileStat, WatchMethod
    from arker.hooks import Hooks, RequestEvent, RetryEvent, TransferEvent
    from arker.models import (
        CHUNK_SIZE,
        MAX_PUT_SIZE,
        AuthMode,
        BackgroundRunResult,
        CancelRunResponse,
        CompletedRunResult,
        CreateSessionRequest,
        DeleteFilesystemResponse,
        DeleteSessionResponse,
        DeleteSyncResponse,
        DeleteTunnelResponse,
        DeleteVmResponse,
        ErrorResponse,
        Filesystem,
        FilesystemCreateRequest,
        ForkRequest,
        InboundPortRequest,
        InboundPortStatus,
        InboundRequest,
        InboundStatus,
        ListFilesystemsResponse,
        ListOrgRunsResponse,
        ListRunsResponse,
        ListSessionsResponse,
        ListSyncsResponse,
        ListTunnelsResponse,
        ListVmsResponse,
        NetworkPolicy,
        NetworkPolicyAllow,
        NetworkPolicyBlock,
        NetworkPolicyBlocked,
        NetworkPolicyInput,
        NetworkPolicyOpen,
        NetworkPolicyUnknown,
        NetworkRequest,
        NetworkStatus,
        OrgRunListRow,
        Provider,
        ResizeRequest,
        ResizeResponse,
        ResourceKind,
        Run,
        RunRequest,
        RunResult,
        RunState,
        RunSummary,
        Session,
        SessionState,
        Sync,
        SyncByteRange,
        SyncChunkWrite,
        SyncChunkWriteResult,
        SyncCommitWriteResult,
        SyncCreateRequest,
        SyncPresignedWriteCommit,
        SyncPresignedWriteRequest,
        SyncPresignedWriteRequestResult,
        SyncReadInlineResponse,
        SyncReadPresignedResponse,
        SyncReadRequest,
        SyncReadResponse,
        SyncWriteEntry,
        SyncWriteRequest,
        SyncWriteResponse,
        SyncWriteResult,
        Tunnel,
        TunnelRequest,
        TunnelState,
        Visibility,
        Vm,
        VmState,
    )
    from arker.reports import FleetOutcome, FleetProgress, Leftover, ReapReport
    from arker.run import OutputChunk, OutputLine
    from arker.transfer import FileOutcome, TransferProgress, TransferResult
    from arker.tunnel import TunnelResponse
    from arker_sync.client import Arker
    from arker_sync.files import Files
    from arker_sync.fleet import Fleet
    from arker_sync.read_stream import ReadStream
    from arker_sync.remote_file import RemoteFile
    from arker_sync.run import RunHandle
    from arker_sync.session import SessionHandle
    from arker_sync.tunnel import TunnelHandle
    from arker_sync.vm import VM
    from arker_sync.watch import Watch

    __version__: str

__all__ = [
    "ARKER_ORG_ID",
    "CHUNK_SIZE",
    "GOLDEN_NAMES",
    "MAX_PUT_SIZE",
    "VM",
    "ApiError",
    "Arker",
    "ArkerError",
    "AuthMode",
    "BackgroundRunResult",
    "BadCursorError",
    "BadReplyError",
    "BadRequestError",
    "CancelRunResponse",
    "CompletedRunResult",
    "ConfigurationError",
    "ConflictError",
    "CreateSessionRequest",
    "DeadlineExceededError",
    "DeleteFilesystemResponse",
    "DeleteSessionResponse",
    "DeleteSyncResponse",
    "DeleteTunnelResponse",
    "DeleteVmResponse",
    "DirectoryAction",
    "DirectoryConflictError",
    "DirectoryEntry",
    "DirectoryReport",
    "EmulatorError",
    "EntryKind",
    "ErrorCode",
    "ErrorResponse",
    "FileChangedError",
    "FileEntry",
    "FileEvent",
    "FileEventKind",
    "FileKind",
    "FileMatch",
    "FileOutcome",
    "FileStat",
    "FileTooLargeError",
    "Files",
    "Filesystem",
    "FilesystemCreateRequest",
    "Fleet",
    "FleetError",
    "FleetOutcome",
    "FleetProgress",
    "ForbiddenError",
    "ForkRequest",
    "Hooks",
    "HttpTimeouts",
    "InboundPortRequest",
    "InboundPortStatus",
    "InboundRequest",
    "InboundStatus",
    "IntegrityError",
    "InternalError",
    "InvalidArgumentError",
    "Leftover",
    "ListFilesystemsResponse",
    "ListOrgRunsResponse",
    "ListRunsResponse",
    "ListSessionsResponse",
    "ListSyncsResponse",
    "ListTunnelsResponse",
    "ListVmsResponse",
    "LocalFileError",
    "NetworkError",
    "NetworkPolicy",
    "NetworkPolicyAllow",
    "NetworkPolicyBlock",
    "NetworkPolicyBlocked",
    "NetworkPolicyInput",
    "NetworkPolicyOpen",
    "NetworkPolicyUnknown",
    "NetworkRequest",
    "NetworkStatus",
    "NetworkTimeoutError",
    "NotFoundError",
    "OperationNotImplementedError",
    "OrgRunListRow",
    "Outcome",
    "OutputChangedError",
    "OutputChunk",
    "OutputLine",
    "PayloadTooLargeError",
    "Provider",
    "RateLimitedError",
    "ReadStream",
    "ReapReport",
    "RemoteFile",
    "RemoteFileError",
    "RemoteFileExistsError",
    "RemoteFileNotFoundError",
    "RemoteIsADirectoryError",
    "RemoteNoSpaceError",
    "RemoteNotADirectoryError",
    "RemotePathError",
    "RemotePermissionError",
    "RequestEvent",
    "ResizeRequest",
    "ResizeResponse",
    "ResourceKind",
    "ResourcePressureError",
    "RetryEvent",
    "RetryPolicy",
    "Run",
    "RunFailedError",
    "RunHandle",
    "RunNotFinishedError",
    "RunRequest",
    "RunResult",
    "RunState",
    "RunSummary",
    "Session",
    "SessionHandle",
    "SessionState",
    "Sync",
    "SyncByteRange",
    "SyncChunkWrite",
    "SyncChunkWriteResult",
    "SyncCommitWriteResult",
    "SyncCreateRequest",
    "SyncPresignedWriteCommit",
    "SyncPresignedWriteRequest",
    "SyncPresignedWriteRequestResult",
    "SyncReadInlineResponse",
    "SyncReadPresignedResponse",
    "SyncReadRequest",
    "SyncReadResponse",
    "SyncWriteEntry",
    "SyncWriteRequest",
    "SyncWriteResponse",
    "SyncWriteResult",
    "TransferError",
    "TransferEvent",
    "TransferProgress",
    "TransferResult",
    "Tunnel",
    "TunnelClosedError",
    "TunnelHandle",
    "TunnelRequest",
    "TunnelResponse",
    "TunnelState",
    "UnauthorizedError",
    "UnavailableError",
    "UnsupportedOperationError",
    "VMGoneError",
    "Visibility",
    "Vm",
    "VmState",
    "Watch",
    "WatchMethod",
]

# Loading everything is slow, and most programs need only a part.
_get, __dir__ = lazily(
    __name__,
    {
        "arker._basics.names": "ARKER_ORG_ID GOLDEN_NAMES",
        "arker.config": "HttpTimeouts RetryPolicy",
        "arker.directories": "DirectoryAction DirectoryEntry DirectoryReport EntryKind",
        "arker.entries": "FileEntry FileEvent FileEventKind FileKind FileMatch FileStat WatchMethod",
        "arker.hooks": "Hooks RequestEvent RetryEvent TransferEvent",
        "arker.models": " ".join(models.__all__),
        "arker.reports": "FleetOutcome FleetProgress Leftover ReapReport",
        "arker.run": "OutputChunk OutputLine",
        "arker.transfer": "FileOutcome TransferProgress TransferResult",
        "arker.tunnel": "TunnelResponse",
        "arker_sync.client": "Arker",
        "arker_sync.files": "Files",
        "arker_sync.fleet": "Fleet",
        "arker_sync.read_stream": "ReadStream",
        "arker_sync.remote_file": "RemoteFile",
        "arker_sync.run": "RunHandle",
        "arker_sync.session": "SessionHandle",
        "arker_sync.tunnel": "TunnelHandle",
        "arker_sync.vm": "VM",
        "arker_sync.watch": "Watch",
    },
)

_DEPRECATED: Final = {
    "SessionInfo": "Session",
    "RunStatusResponse": "Run",
    "RunNetworkRequest": "NetworkRequest",
    "RunNetworkStatus": "NetworkStatus",
    "RunInboundPortRequest": "InboundPortRequest",
    "RunTunnelStatus": "Tunnel",
}
"""Older names of the models (contract, section 9)."""


def __getattr__(name: str) -> object:
    if name in _DEPRECATED:
        import warnings  # few programs use older names

        message = f"arker_sync.{name} is an older name of arker_sync.{_DEPRECATED[name]}"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(models, _DEPRECATED[name])
    if name == "__version__":
        from arker._basics.version import version  # few programs ask for it

        return version()
    return _get(name)
