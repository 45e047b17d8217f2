"""Arker VMs from asyncio: fork a VM, run commands in it, sync files in and out.

    from arker import AsyncArker

    async with AsyncArker(region="us-west-2") as ar:
        vm = await ar.fork("ubuntu")
        result = await vm.run("echo hi")
        await vm.sync("/tmp/in.txt", b"hello")
        await vm.delete()

``AsyncArker.local()`` is the same client on an embedded backend that needs no account and no network.

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
    from arker import transfer as transfer
    from arker._basics.names import ARKER_ORG_ID, GOLDEN_NAMES
    from arker.client import AsyncArker
    from arker.config import HttpTimeouts, RetryPolicy
    from arker.directories import DirectoryAction, DirectoryEntry, DirectoryReport, EntryKind
    from arker.entries import FileEntry, FileEvent, FileEventKind, FileKind, FileMatch, FileStat, WatchMethod
    from arker.files import AsyncFiles
    from arker.fleet import AsyncFleet
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
    from arker.read_stream import AsyncReadStream
    from arker.remote_file import AsyncRemoteFile
    from arker.reports import FleetOutcome, FleetProgress, Leftover, ReapReport
    from arker.run import AsyncRun, OutputChunk, OutputLine
    from arker.session import AsyncSession
    from arker.transfer import FileOutcome, TransferProgress, TransferResult
    from arker.tunnel import AsyncTunnel, TunnelResponse
    from arker.vm import AsyncVM
    from arker.watch import AsyncWatch

    __version__: str

__all__ = [
    "ARKER_ORG_ID",
    "CHUNK_SIZE",
    "GOLDEN_NAMES",
    "MAX_PUT_SIZE",
    "ApiError",
    "ArkerError",
    "AsyncArker",
    "AsyncRun",
    "AsyncSession",
    "AsyncTunnel",
    "AsyncFiles",
    "AsyncFleet",
    "AsyncReadStream",
    "AsyncRemoteFile",
    "AsyncVM",
    "AsyncWatch",
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
    "Filesystem",
    "FilesystemCreateRequest",
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
    "ReapReport",
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
    "RunNotFinishedError",
    "RunRequest",
    "RunResult",
    "RunState",
    "RunSummary",
    "Session",
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
    "WatchMethod",
]

# Loading everything is slow, and most programs need only a part.
_get, __dir__ = lazily(
    __name__,
    {
        "arker.reports": "FleetOutcome FleetProgress Leftover ReapReport",
        "arker._basics.names": "ARKER_ORG_ID GOLDEN_NAMES",
        "arker.client": "AsyncArker",
        "arker.config": "HttpTimeouts RetryPolicy",
        "arker.directories": "DirectoryAction DirectoryEntry DirectoryReport EntryKind",
        "arker.entries": "FileEntry FileEvent FileEventKind FileKind FileMatch FileStat WatchMethod",
        "arker.files": "AsyncFiles",
        "arker.fleet": "AsyncFleet",
        "arker.hooks": "Hooks RequestEvent RetryEvent TransferEvent",
        "arker.models": " ".join(models.__all__),
        "arker.read_stream": "AsyncReadStream",
        "arker.remote_file": "AsyncRemoteFile",
        "arker.run": "AsyncRun OutputChunk OutputLine",
        "arker.session": "AsyncSession",
        "arker.transfer": "FileOutcome TransferProgress TransferResult",
        "arker.tunnel": "AsyncTunnel TunnelResponse",
        "arker.vm": "AsyncVM",
        "arker.watch": "AsyncWatch",
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

        message = f"arker.{name} is an older name of arker.{_DEPRECATED[name]}"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(models, _DEPRECATED[name])
    if name == "__version__":
        from arker._basics.version import version  # few programs ask for it

        return version()
    return _get(name)
