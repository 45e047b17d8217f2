"""Models of the contract's requests and replies as frozen attrs classes. They contain no JSON code and do no I/O.

Timestamps are RFC 3339 strings in UTC, sizes in ``_mib`` are MiB, other sizes are bytes. A field that is None was
absent. Lists are tuples. Sections 4 and 5 of the contract list the requests and replies that use each class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._basics.lazy import lazily

if TYPE_CHECKING:
    from arker.models.file import (
        CHUNK_SIZE,
        MAX_PUT_SIZE,
        ErrorResponse,
        SyncByteRange,
        SyncChunkWrite,
        SyncChunkWriteResult,
        SyncCommitWriteResult,
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
    )
    from arker.models.filesystem import (
        DeleteFilesystemResponse,
        DeleteSyncResponse,
        Filesystem,
        FilesystemCreateRequest,
        ListFilesystemsResponse,
        ListSyncsResponse,
        Sync,
        SyncCreateRequest,
    )
    from arker.models.network import (
        InboundPortRequest,
        InboundPortStatus,
        InboundRequest,
        InboundStatus,
        NetworkPolicy,
        NetworkPolicyAllow,
        NetworkPolicyBlock,
        NetworkPolicyBlocked,
        NetworkPolicyInput,
        NetworkPolicyOpen,
        NetworkPolicyUnknown,
        NetworkRequest,
        NetworkStatus,
        Visibility,
    )
    from arker.models.org import (
        ListOrgRunsResponse,
        OrgRunListRow,
    )
    from arker.models.run import (
        BackgroundRunResult,
        CancelRunResponse,
        CompletedRunResult,
        ListRunsResponse,
        ResourceKind,
        Run,
        RunRequest,
        RunResult,
        RunState,
        RunSummary,
    )
    from arker.models.session import (
        CreateSessionRequest,
        DeleteSessionResponse,
        ListSessionsResponse,
        Session,
        SessionState,
    )
    from arker.models.tunnel import (
        AuthMode,
        DeleteTunnelResponse,
        ListTunnelsResponse,
        Tunnel,
        TunnelRequest,
        TunnelState,
    )
    from arker.models.vm import (
        DeleteVmResponse,
        ForkRequest,
        ListVmsResponse,
        Provider,
        ResizeRequest,
        ResizeResponse,
        Vm,
        VmState,
    )
else:
    # Building all these classes is slow, and a program needs only a few of them before its first request.
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "arker.models.file": (
                "CHUNK_SIZE MAX_PUT_SIZE ErrorResponse SyncByteRange SyncChunkWrite SyncChunkWriteResult "
                "SyncCommitWriteResult SyncPresignedWriteCommit SyncPresignedWriteRequest "
                "SyncPresignedWriteRequestResult SyncReadInlineResponse SyncReadPresignedResponse SyncReadRequest "
                "SyncReadResponse SyncWriteEntry SyncWriteRequest SyncWriteResponse SyncWriteResult"
            ),
            "arker.models.filesystem": (
                "DeleteFilesystemResponse DeleteSyncResponse Filesystem FilesystemCreateRequest "
                "ListFilesystemsResponse ListSyncsResponse Sync SyncCreateRequest"
            ),
            "arker.models.network": (
                "InboundPortRequest InboundPortStatus InboundRequest InboundStatus NetworkPolicy NetworkPolicyAllow "
                "NetworkPolicyBlock NetworkPolicyBlocked NetworkPolicyInput NetworkPolicyOpen NetworkPolicyUnknown "
                "NetworkRequest NetworkStatus Visibility"
            ),
            "arker.models.org": "ListOrgRunsResponse OrgRunListRow",
            "arker.models.run": (
                "BackgroundRunResult CancelRunResponse CompletedRunResult ListRunsResponse ResourceKind Run "
                "RunRequest RunResult RunState RunSummary"
            ),
            "arker.models.session": (
                "CreateSessionRequest DeleteSessionResponse ListSessionsResponse Session SessionState"
            ),
            "arker.models.tunnel": "AuthMode DeleteTunnelResponse ListTunnelsResponse Tunnel TunnelRequest TunnelState",
            "arker.models.vm": (
                "DeleteVmResponse ForkRequest ListVmsResponse Provider ResizeRequest ResizeResponse Vm VmState"
            ),
        },
    )

__all__ = [
    "CHUNK_SIZE",
    "MAX_PUT_SIZE",
    "AuthMode",
    "BackgroundRunResult",
    "CancelRunResponse",
    "CompletedRunResult",
    "CreateSessionRequest",
    "DeleteFilesystemResponse",
    "DeleteSessionResponse",
    "DeleteSyncResponse",
    "DeleteTunnelResponse",
    "DeleteVmResponse",
    "ErrorResponse",
    "Filesystem",
    "FilesystemCreateRequest",
    "ForkRequest",
    "InboundPortRequest",
    "InboundPortStatus",
    "InboundRequest",
    "InboundStatus",
    "ListFilesystemsResponse",
    "ListOrgRunsResponse",
    "ListRunsResponse",
    "ListSessionsResponse",
    "ListSyncsResponse",
    "ListTunnelsResponse",
    "ListVmsResponse",
    "NetworkPolicy",
    "NetworkPolicyAllow",
    "NetworkPolicyBlock",
    "NetworkPolicyBlocked",
    "NetworkPolicyInput",
    "NetworkPolicyOpen",
    "NetworkPolicyUnknown",
    "NetworkRequest",
    "NetworkStatus",
    "OrgRunListRow",
    "Provider",
    "ResizeRequest",
    "ResizeResponse",
    "ResourceKind",
    "Run",
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
    "Tunnel",
    "TunnelRequest",
    "TunnelState",
    "Visibility",
    "Vm",
    "VmState",
]
