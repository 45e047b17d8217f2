"""Models of the contract's requests and replies as frozen attrs classes. They contain no JSON code and do no I/O.

Timestamps are RFC 3339 strings in UTC, sizes in ``_mib`` are MiB, other sizes are bytes. A field that is None was
absent. Lists are tuples. Sections 4 and 5 of the contract list the requests and replies that use each class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._basics.lazy import lazily

if TYPE_CHECKING:
    from arker.models.api_key import (
        ApiKey,
        ApiKeyRole,
        ApiKeyScope,
        ApiKeyScopes,
        CreateApiKeyRequest,
        CreatedApiKey,
        ListApiKeysResponse,
        RevokeApiKeyResponse,
    )
    from arker.models.file import (
        ErrorResponse,
        ManifestEntry,
        SyncByteRange,
        SyncChunkWrite,
        SyncChunkWriteResult,
        SyncCommitWriteResult,
        SyncManifestRequest,
        SyncManifestResponse,
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
        DeleteMountResponse,
        DeleteSyncResponse,
        Filesystem,
        FilesystemCreateRequest,
        ListFilesystemsResponse,
        ListMountsResponse,
        ListSyncsResponse,
        Mount,
        MountCreateRequest,
        MountState,
        Sync,
        SyncCreateRequest,
    )
    from arker.models.image import (
        RegistryAuth,
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
    from arker.models.platform import (
        CompatiblePlatform,
        GpuPlatformLimits,
        GpuResourceBand,
        VmResources,
    )
    from arker.models.policy import (
        Gate,
        PolicyAction,
        PolicyAuth,
        PolicyConnection,
        PolicyDirection,
        PolicyInput,
        PolicyMatch,
        PolicyRule,
        PolicyToken,
        PolicyUpdate,
        PolicyVia,
        PortRange,
        RequestAction,
        Rewrite,
        ScaleAction,
        ScheduleRule,
    )
    from arker.models.pool import (
        CreatePoolByoc,
        CreatePoolRequest,
        ListPoolsResponse,
        ListPoolWorkersResponse,
        Pool,
        PoolByoc,
        PoolCommitment,
        PoolCommitments,
        PoolResources,
        PoolSize,
        PoolState,
        PoolType,
        UpdatePoolRequest,
        Worker,
        WorkerState,
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
    from arker.models.service import (
        ListRegionsResponse,
        RegionPlacement,
        WhoamiResponse,
    )
    from arker.models.session import (
        CreateSessionRequest,
        DeleteSessionResponse,
        ListSessionsResponse,
        Session,
        SessionState,
    )
    from arker.models.sizes import CHUNK_SIZE, MAX_PUT_SIZE
    from arker.models.ssh import (
        SshKeyInput,
        SshKeys,
        SshPublicKey,
    )
    from arker.models.terminal import (
        PtyTicketResponse,
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
        Layer,
        ListVmsResponse,
        PatchVmRequest,
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
            "arker.models.api_key": (
                "ApiKey ApiKeyRole ApiKeyScope ApiKeyScopes CreateApiKeyRequest CreatedApiKey ListApiKeysResponse "
                "RevokeApiKeyResponse"
            ),
            "arker.models.file": (
                "ErrorResponse ManifestEntry SyncByteRange SyncChunkWrite "
                "SyncChunkWriteResult SyncCommitWriteResult SyncManifestRequest SyncManifestResponse "
                "SyncPresignedWriteCommit SyncPresignedWriteRequest SyncPresignedWriteRequestResult "
                "SyncReadInlineResponse SyncReadPresignedResponse SyncReadRequest SyncReadResponse SyncWriteEntry "
                "SyncWriteRequest SyncWriteResponse SyncWriteResult"
            ),
            "arker.models.filesystem": (
                "DeleteFilesystemResponse DeleteMountResponse DeleteSyncResponse Filesystem FilesystemCreateRequest "
                "ListFilesystemsResponse ListMountsResponse ListSyncsResponse Mount MountCreateRequest MountState "
                "Sync SyncCreateRequest"
            ),
            "arker.models.image": ("RegistryAuth"),
            "arker.models.network": (
                "InboundPortRequest InboundPortStatus InboundRequest InboundStatus NetworkPolicy NetworkPolicyAllow "
                "NetworkPolicyBlock NetworkPolicyBlocked NetworkPolicyInput NetworkPolicyOpen NetworkPolicyUnknown "
                "NetworkRequest NetworkStatus Visibility"
            ),
            "arker.models.org": ("ListOrgRunsResponse OrgRunListRow"),
            "arker.models.platform": ("CompatiblePlatform GpuPlatformLimits GpuResourceBand VmResources"),
            "arker.models.policy": (
                "Gate PolicyAction PolicyAuth PolicyConnection PolicyDirection PolicyInput PolicyMatch PolicyRule "
                "PolicyToken PolicyUpdate PolicyVia PortRange RequestAction Rewrite ScaleAction ScheduleRule"
            ),
            "arker.models.pool": (
                "CreatePoolByoc CreatePoolRequest ListPoolsResponse ListPoolWorkersResponse Pool PoolByoc "
                "PoolCommitment PoolCommitments PoolResources PoolSize PoolState PoolType UpdatePoolRequest Worker "
                "WorkerState"
            ),
            "arker.models.run": (
                "BackgroundRunResult CancelRunResponse CompletedRunResult ListRunsResponse ResourceKind Run "
                "RunRequest RunResult RunState RunSummary"
            ),
            "arker.models.service": ("ListRegionsResponse RegionPlacement WhoamiResponse"),
            "arker.models.session": (
                "CreateSessionRequest DeleteSessionResponse ListSessionsResponse Session SessionState"
            ),
            "arker.models.sizes": "CHUNK_SIZE MAX_PUT_SIZE",
            "arker.models.ssh": ("SshKeyInput SshKeys SshPublicKey"),
            "arker.models.terminal": ("PtyTicketResponse"),
            "arker.models.tunnel": (
                "AuthMode DeleteTunnelResponse ListTunnelsResponse Tunnel TunnelRequest TunnelState"
            ),
            "arker.models.vm": (
                "DeleteVmResponse ForkRequest Layer ListVmsResponse PatchVmRequest Provider ResizeRequest "
                "ResizeResponse Vm VmState"
            ),
        },
    )

__all__ = [
    "CHUNK_SIZE",
    "MAX_PUT_SIZE",
    "ApiKey",
    "ApiKeyRole",
    "ApiKeyScope",
    "ApiKeyScopes",
    "AuthMode",
    "BackgroundRunResult",
    "CancelRunResponse",
    "CompatiblePlatform",
    "CompletedRunResult",
    "CreateApiKeyRequest",
    "CreatePoolByoc",
    "CreatePoolRequest",
    "CreateSessionRequest",
    "CreatedApiKey",
    "DeleteFilesystemResponse",
    "DeleteMountResponse",
    "DeleteSessionResponse",
    "DeleteSyncResponse",
    "DeleteTunnelResponse",
    "DeleteVmResponse",
    "ErrorResponse",
    "Filesystem",
    "FilesystemCreateRequest",
    "ForkRequest",
    "GpuPlatformLimits",
    "GpuResourceBand",
    "Gate",
    "InboundPortRequest",
    "InboundPortStatus",
    "InboundRequest",
    "InboundStatus",
    "Layer",
    "ListApiKeysResponse",
    "ListFilesystemsResponse",
    "ListMountsResponse",
    "ListOrgRunsResponse",
    "ListPoolWorkersResponse",
    "ListPoolsResponse",
    "ListRegionsResponse",
    "ListRunsResponse",
    "ListSessionsResponse",
    "ListSyncsResponse",
    "ListTunnelsResponse",
    "ListVmsResponse",
    "ManifestEntry",
    "Mount",
    "MountCreateRequest",
    "MountState",
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
    "PatchVmRequest",
    "PolicyAction",
    "PolicyAuth",
    "PolicyConnection",
    "PolicyDirection",
    "PolicyInput",
    "PolicyMatch",
    "PolicyRule",
    "PolicyToken",
    "PolicyUpdate",
    "PolicyVia",
    "Pool",
    "PoolByoc",
    "PoolCommitment",
    "PoolCommitments",
    "PoolResources",
    "PoolSize",
    "PoolState",
    "PoolType",
    "PortRange",
    "Provider",
    "PtyTicketResponse",
    "RegionPlacement",
    "RegistryAuth",
    "RequestAction",
    "ResizeRequest",
    "ResizeResponse",
    "ResourceKind",
    "RevokeApiKeyResponse",
    "Rewrite",
    "Run",
    "RunRequest",
    "RunResult",
    "RunState",
    "RunSummary",
    "ScaleAction",
    "ScheduleRule",
    "Session",
    "SessionState",
    "SshKeyInput",
    "SshKeys",
    "SshPublicKey",
    "Sync",
    "SyncByteRange",
    "SyncChunkWrite",
    "SyncChunkWriteResult",
    "SyncCommitWriteResult",
    "SyncCreateRequest",
    "SyncManifestRequest",
    "SyncManifestResponse",
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
    "UpdatePoolRequest",
    "Visibility",
    "Vm",
    "VmResources",
    "VmState",
    "WhoamiResponse",
    "Worker",
    "WorkerState",
]
