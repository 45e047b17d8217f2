"""Payloads of the wire, full and minimal, for every model that a server sends. Each use gets a copy of its own."""

from __future__ import annotations

import copy
from typing import Any, Final, TypeAlias

from arker.models import (
    ApiKey,
    ApiKeyScope,
    BackgroundRunResult,
    CancelRunResponse,
    CompatiblePlatform,
    CompletedRunResult,
    CreatedApiKey,
    DeleteFilesystemResponse,
    DeleteMountResponse,
    DeleteSessionResponse,
    DeleteSyncResponse,
    DeleteTunnelResponse,
    DeleteVmResponse,
    ErrorResponse,
    Filesystem,
    GpuPlatformLimits,
    GpuResourceBand,
    InboundPortStatus,
    InboundStatus,
    ListApiKeysResponse,
    ListFilesystemsResponse,
    ListMountsResponse,
    ListOrgRunsResponse,
    ListPoolsResponse,
    ListPoolWorkersResponse,
    ListRegionsResponse,
    ListRunsResponse,
    ListSessionsResponse,
    ListSyncsResponse,
    ListTunnelsResponse,
    ListVmsResponse,
    ManifestEntry,
    Mount,
    NetworkStatus,
    OrgRunListRow,
    Pool,
    PoolByoc,
    PoolCommitment,
    PoolResources,
    PtyTicketResponse,
    RegionPlacement,
    ResizeResponse,
    RevokeApiKeyResponse,
    Run,
    RunSummary,
    Session,
    SshPublicKey,
    Sync,
    SyncByteRange,
    SyncChunkWriteResult,
    SyncCommitWriteResult,
    SyncManifestResponse,
    SyncPresignedWriteRequestResult,
    SyncReadInlineResponse,
    SyncReadPresignedResponse,
    Tunnel,
    Vm,
    VmResources,
    WhoamiResponse,
    Worker,
)
from tests.support.secrets import CREATED_KEY, SIGNATURE, TUNNEL_TOKEN

Json: TypeAlias = dict[str, Any]

PRESIGNED_URL: Final = f"http://127.0.0.1:9/bucket/object?X-Signature={SIGNATURE}"

_CONTEXT: Final[Json] = {
    "vm_id": "vm-1",
    "vm_name": "worker",
    "source_org_id": "ArkerHQ",
    "region": "us-west-2",
    "provider": "aws",
}

_SESSION: Final[Json] = {
    **_CONTEXT,
    "session_id": "ses-1",
    "session_idx": 2,
    "state": "running",
    "cwd": "/home/user",
    "env": {"LANG": "C.UTF-8"},
    "started_at": "2026-01-02T03:04:05Z",
}

_TUNNEL: Final[Json] = {
    **_CONTEXT,
    "port": 8080,
    "run_id": "run-1",
    "visibility": "private",
    "protocol": "http",
    "url": "https://t.example",
    "state": "open",
    "message": "ready",
    "started_at": "2026-01-02T03:04:05Z",
    "tunnel_key": "tk-1",
    "auth_mode": "authenticated",
    "auth_token": TUNNEL_TOKEN,
}

_SSH_KEY: Final[Json] = {
    "id": "mine",
    "public_key": "ssh-ed25519 AAAA",
    "fingerprint": "SHA256:x",
    "name": "laptop",
    "expires_at": "2027-01-02T03:04:05Z",
}

_PLATFORM: Final[Json] = {
    "id": "p-1",
    "display_name": "Platform 1",
    "architecture": "x86_64",
    "min_vcpus": 1,
    "max_vcpus": 8,
    "default_vcpus": 2,
    "min_memory_mib": 256,
    "max_memory_mib": 8192,
    "default_memory_mib": 1024,
    "min_disk_mib": 1024,
    "max_disk_mib": 8192,
    "default_disk_mib": 4096,
    "gpu": {"name": "G", "vram_mib": {"min": 1, "max": 2, "default": 1}, "sms": {"min": 1, "max": 2, "default": 1}},
}

_POOL_SIZE: Final[Json] = {"vcpu": 64, "memory_mib": 262144, "disk_mib": 1048576}
_COMMITMENT: Final[Json] = {"starts_at": "2026-01-02T00:00:00Z", "ends_at": "2026-02-02T00:00:00Z"}
_BYOC: Final[Json] = {
    "account_id": "123456789012",
    "subnet_ids": ["subnet-1"],
    "security_group_ids": ["sg-1"],
    "instance_types": ["c7.metal"],
    "role_name": "r",
    "external_id": "e",
    "setup_url": "https://h/setup",
}
_POOL: Final[Json] = {
    "pool_id": "8a0c8b52-6d93-4f8e-8d43-0123456789ab",
    "type": "byoc",
    "name": "batch",
    "region": "us-west-2",
    "platform": "linux",
    "state": "running",
    "reason": "all machines are there",
    "created_at": "2026-01-02T03:04:05Z",
    "resources": _POOL_SIZE,
    "resources_reserved": _POOL_SIZE,
    "resources_provisioned": _POOL_SIZE,
    "provider": "aws",
    "commitments": [_COMMITMENT],
    "isolation": ["vms"],
    "byoc": _BYOC,
}
_BARE_POOL: Final[Json] = {
    name: value
    for name, value in _POOL.items()
    if name not in {"resources", "provider", "commitments", "isolation", "byoc"}
}
_WORKER: Final[Json] = {
    "worker_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "state": "running",
    "resources_provisioned": _POOL_SIZE,
    "resources_reserved": _POOL_SIZE,
    "last_seen_at": "2026-01-02T03:04:05Z",
}
_API_KEY: Final[Json] = {
    "api_key_id": "ci-1",
    "scopes": [{"vm_id": "vm-1"}],
    "created_at": "2026-01-02T03:04:05Z",
    "role": "developer",
    "vm_id": "vm-1",
    "pool_id": "8a0c8b52-6d93-4f8e-8d43-0123456789ab",
}

_BAND: Final[Json] = {"min": 1, "max": 8, "default": 2}
_GPU: Final[Json] = {"platform": "linux", "gpu": "G", "vram_mib": _BAND, "sms": _BAND}

_VM: Final[Json] = {
    "vm_id": "vm-1",
    "owner_org_id": "acme",
    "created_at": "2026-01-02T03:04:05Z",
    "name": "worker",
    "public": False,
    "root_source_vm_id": "vm-0",
    "root_source_vm_name": "base",
    "state": "idle",
    "region": "us-west-2",
    "provider": "aws",
    "started_at": "2026-01-02T03:04:06Z",
    "vcpu_count": 2,
    "memory_mib": 1024,
    "disk_mib": 4096,
    "network": {"type": "allow", "allow": ["example.com", "10.0.0.0/8"]},
    "max_vcpus": 8,
    "max_memory_mib": 8192,
    "min_memory_mib": 256,
    "worker_id": "w-1",
    "sessions": [_SESSION],
    "tunnels": [_TUNNEL],
    "last_active_at": "2026-01-02T03:04:07Z",
    "description": "for builds",
    "hostname": "vm-1.aws-us-west-2.example",
    "immutable": False,
    "resources": {
        "vcpu": 2,
        "memory_mib": 1024,
        "disk_mib": 4096,
        "gpu_sms": 8,
        "gpu_vram_mib": 1024,
        "gpu_count": 1,
    },
    "policies": {"rules": {}, "secrets": {"TOKEN": "***"}},
    "ssh_public_keys": [_SSH_KEY],
    "min_vcpus": 1,
    "min_disk_mib": 1024,
    "max_disk_mib": 8192,
    "gpu_platforms": [_GPU],
    "platform": "p-1",
    "compatible_platforms": [_PLATFORM],
    "pool_id": "00000000-0000-0000-0000-000000000001",
}

_SUMMARY: Final[Json] = {
    **_CONTEXT,
    "run_id": "run-1",
    "session_id": "ses-1",
    "command": "echo hi",
    "state": "completed",
    "started_at": "2026-01-02T03:04:05Z",
    "completed_at": "2026-01-02T03:04:06Z",
    "exit_code": 3,
    "fail_reason": "none really",
}

_OUTPUT: Final[Json] = {
    "stdout": "hi\n",
    "stdout_encoding": "utf-8",
    "stderr": "/wD+",
    "stderr_encoding": "base64",
}

_RESULT: Final[Json] = {"path": "/tmp/f", "size": 5, "complete": True, "written": True}

_FILESYSTEM: Final[Json] = {
    "filesystem_id": "fs-1",
    "name": "data",
    "owner_org_id": "acme",
    "created_at": "2026-01-02T03:04:05Z",
    "size_bytes": 7,
    "region": "eu-north-1",
    "provider": "aws-burst",
}

_SYNC: Final[Json] = {
    **_CONTEXT,
    "sync_id": "sy-1",
    "filesystem_id": "fs-1",
    "path": "/data",
    "created_at": "2026-01-02T03:04:05Z",
    "filesystem_name": "data",
    "live": False,
    "live_error": "not yet",
    "idempotent": True,
}

_MOUNT: Final[Json] = {
    "mount_id": "mo-1",
    "vm_id": "vm-1",
    "filesystem_id": "fs-1",
    "path": "/data",
    "state": "failed",
    "state_detail": "no such bucket",
    "region": "us-west-2",
    "provider": "aws",
    "created_at": "2026-01-02T03:04:05Z",
    "filesystem_name": "data",
}

_FILE: Final[Json] = {"path": "a/b", "size": 3, "mode": 0o644, "hash": "0" * 64}

_REGION: Final[Json] = {
    "provider": "aws",
    "region": "us-west-2",
    "endpoint": "https://aws-us-west-2.arker.ai/api",
    "platforms": ["p-1", "p-2"],
}

_ROW: Final[Json] = {
    "provider": "aws",
    "state": "completed",
    "t_ms": 1_767_323_045_000,
    "request_id": "req-1",
    "source": "edge",
    "run_id": "run-1",
    "vm_id": "vm-1",
    "session_id": "ses-1",
    "region": "us-west-2",
    "status": 200,
    "total_ms": 12.5,
    "queue_ms": 1.5,
    "lambda_call_ms": 2.5,
    "lambda_duration_ms": 3.5,
    "executor_duration_ms": 4.5,
    "executor_kind": "vm",
    "executor_cpu_ms": 5.5,
    "executor_mem_mb": 6.5,
    "lambda_cpu_ms": 7.5,
    "lambda_mem_mb": 8.5,
    "vm_vcpus": 2.5,
    "vm_memory_mib": 1024.5,
    "path": "/v1/vms/vm-1/runs",
    "method": "POST",
    "command": "echo hi",
    "source_vm_id": "vm-0",
    "exit_code": 0,
    "endpoint": "run",
    "api_key_prefix": "ark-",
    "body_bytes_in": 9,
    "body_bytes_out": 10,
    "body_in": "{}",
    "body_out": "{}",
}

_PORT: Final[Json] = {
    "requested": "public",
    "observed": "private",
    "effective": "private",
    "protocol": "http",
    "url": "https://p.example",
}

FULL: Final[dict[type[Any], Json]] = {
    Session: _SESSION,
    Tunnel: _TUNNEL,
    Vm: _VM,
    ListVmsResponse: {"vms": [_VM, {"vm_id": "vm-2"}], "next_cursor": "c2"},
    DeleteVmResponse: {"deleted": True},
    RunSummary: _SUMMARY,
    Run: {**_SUMMARY, **_OUTPUT, "tunnels": [_TUNNEL], "retry_count": 1},
    ListRunsResponse: {"runs": [_SUMMARY], "next_cursor": "c2"},
    CancelRunResponse: {"cancelled": True},
    CompletedRunResult: {
        **_OUTPUT,
        "exit_code": 3,
        "run_id": "run-1",
        "session_id": "ses-1",
        "state": "failed",
        "fail_reason": "timeout",
        "dispatch": {"anything": [1, None]},
    },
    BackgroundRunResult: {"run_id": "run-1", "session_id": "ses-1", "state": "running", "tunnels": [_TUNNEL]},
    SyncReadInlineResponse: {"path": "/tmp/f", "size": 5, "content": "hello", "encoding": "utf8"},
    SyncReadPresignedResponse: {
        "path": "/tmp/f",
        "size": 5,
        "presigned_url": PRESIGNED_URL,
        "expires_in": 60,
        "method": "GET",
    },
    SyncChunkWriteResult: {**_RESULT, "received_bytes": 5, "ranges": [{"start": 0, "end": 5}]},
    SyncPresignedWriteRequestResult: {
        **_RESULT,
        "presigned_url": PRESIGNED_URL,
        "upload_id": "up-1",
        "expires_in": 60.5,
        "method": "PUT",
        "complete": False,
        "written": False,
    },
    SyncCommitWriteResult: _RESULT,
    SyncByteRange: {"start": 0, "end": 5},
    ErrorResponse: {"code": "not_found", "message": "no such file"},
    ListSessionsResponse: {"sessions": [_SESSION], "next_cursor": "c2"},
    DeleteSessionResponse: {"deleted": True},
    ListTunnelsResponse: {"tunnels": [_TUNNEL], "next_cursor": "c2"},
    DeleteTunnelResponse: {"deleted": True},
    PtyTicketResponse: {"ticket": "a-ticket", "expires_in": 60},
    Filesystem: _FILESYSTEM,
    ListFilesystemsResponse: {"filesystems": [_FILESYSTEM], "next_cursor": "c2"},
    DeleteFilesystemResponse: {"deleted": True},
    Sync: _SYNC,
    ListSyncsResponse: {"syncs": [_SYNC], "next_cursor": "c2"},
    DeleteSyncResponse: {"deleted": True},
    Mount: _MOUNT,
    ListMountsResponse: {"mounts": [_MOUNT], "next_cursor": "c2"},
    DeleteMountResponse: {"deleted": True},
    RegionPlacement: _REGION,
    ListRegionsResponse: {"regions": [_REGION]},
    WhoamiResponse: {"org_id": "acme", "org_name": "Acme"},
    PoolResources: _POOL_SIZE,
    PoolCommitment: _COMMITMENT,
    PoolByoc: _BYOC,
    Pool: _POOL,
    ListPoolsResponse: {"pools": [_POOL], "next_cursor": "c2"},
    Worker: _WORKER,
    ListPoolWorkersResponse: {"workers": [_WORKER]},
    ApiKeyScope: {"vm_id": "vm-1", "pool_id": "p-1"},
    ApiKey: _API_KEY,
    CreatedApiKey: {**_API_KEY, "key": CREATED_KEY},
    ListApiKeysResponse: {"api_keys": [_API_KEY]},
    RevokeApiKeyResponse: {"revoked": True},
    ManifestEntry: _FILE,
    SyncManifestResponse: {"root": "/d", "hash_algo": "sha256", "entries": [_FILE], "truncated": True},
    VmResources: _VM["resources"],
    GpuResourceBand: _BAND,
    GpuPlatformLimits: _GPU,
    SshPublicKey: _SSH_KEY,
    CompatiblePlatform: _PLATFORM,
    ResizeResponse: {"resized": True},
    OrgRunListRow: _ROW,
    ListOrgRunsResponse: {"since": 1, "until": 2, "limit": 50, "offset": 0, "lite": False, "rows": [_ROW]},
    InboundPortStatus: _PORT,
    InboundStatus: {"ports": {"8080": _PORT}},
    NetworkStatus: {"inbound": {"ports": {"8080": _PORT}}},
}
"""Every field of every model."""

_BARE_SESSION: Final[Json] = {"session_id": "ses-1", "state": "idle", "cwd": "/"}
_BARE_SUMMARY: Final[Json] = {"run_id": "run-1", "state": "running", "started_at": "2026-01-02T03:04:05Z"}
_BARE_OUTPUT: Final[Json] = {"stdout": "", "stdout_encoding": "utf-8", "stderr": "", "stderr_encoding": "utf-8"}

MINIMAL: Final[dict[type[Any], Json]] = {
    Session: _BARE_SESSION,
    Tunnel: {"vm_id": "vm-1", "port": 80, "visibility": "public", "protocol": "http", "state": "starting"},
    Vm: {"vm_id": "vm-1"},
    ListVmsResponse: {"vms": []},
    DeleteVmResponse: {"deleted": False},
    RunSummary: _BARE_SUMMARY,
    Run: {**_BARE_SUMMARY, **_BARE_OUTPUT},
    ListRunsResponse: {"runs": []},
    CancelRunResponse: {"cancelled": False},
    CompletedRunResult: {**_BARE_OUTPUT, "exit_code": 0},
    BackgroundRunResult: {"run_id": "run-1"},
    SyncReadInlineResponse: {"path": "f", "size": 0, "content": "", "encoding": "base64"},
    SyncReadPresignedResponse: {"path": "f", "size": 0, "presigned_url": "http://h/o", "expires_in": 1},
    SyncChunkWriteResult: {},
    SyncPresignedWriteRequestResult: {"presigned_url": "http://h/o", "upload_id": "up-1", "expires_in": 1},
    SyncCommitWriteResult: {},
    SyncByteRange: {"start": 0, "end": 0},
    ErrorResponse: {"code": "internal", "message": ""},
    ListSessionsResponse: {"sessions": []},
    DeleteSessionResponse: {"deleted": False},
    ListTunnelsResponse: {"tunnels": []},
    DeleteTunnelResponse: {"deleted": False},
    PtyTicketResponse: {"ticket": "a-ticket", "expires_in": 0},
    Filesystem: {"filesystem_id": "fs-1", "name": "data", "owner_org_id": "acme", "created_at": "t"},
    ListFilesystemsResponse: {"filesystems": []},
    DeleteFilesystemResponse: {"deleted": False},
    Sync: {"sync_id": "sy-1", "vm_id": "vm-1", "filesystem_id": "fs-1", "path": "/data"},
    ListSyncsResponse: {"syncs": []},
    DeleteSyncResponse: {"deleted": False},
    Mount: {"mount_id": "mo-1", "vm_id": "vm-1", "filesystem_id": "fs-1", "path": "/data"},
    ListMountsResponse: {"mounts": []},
    DeleteMountResponse: {"deleted": False},
    RegionPlacement: {"provider": "aws", "region": "us-west-2", "endpoint": "https://h", "platforms": []},
    ListRegionsResponse: {"regions": []},
    WhoamiResponse: {"org_id": "acme", "org_name": "Acme"},
    PoolResources: _POOL_SIZE,
    PoolCommitment: _COMMITMENT,
    PoolByoc: _BYOC,
    Pool: _BARE_POOL,
    ListPoolsResponse: {"pools": [], "next_cursor": None},
    Worker: _WORKER,
    ListPoolWorkersResponse: {"workers": []},
    ApiKeyScope: {},
    ApiKey: _API_KEY,
    CreatedApiKey: {**_API_KEY, "key": CREATED_KEY},
    ListApiKeysResponse: {"api_keys": []},
    RevokeApiKeyResponse: {"revoked": False},
    ManifestEntry: _FILE,
    SyncManifestResponse: {"root": "/d", "hash_algo": "sha256", "entries": [], "truncated": False},
    VmResources: {},
    GpuResourceBand: _BAND,
    GpuPlatformLimits: {"platform": "linux", "vram_mib": _BAND, "sms": _BAND},
    SshPublicKey: {"id": "mine", "public_key": "ssh-ed25519 AAAA", "fingerprint": "SHA256:x"},
    CompatiblePlatform: {"id": "p-1", "display_name": "Platform 1", "architecture": "x86_64"},
    ResizeResponse: {"resized": False},
    OrgRunListRow: {"t_ms": 1, "request_id": "req-1"},
    ListOrgRunsResponse: {"rows": []},
    InboundPortStatus: {"requested": "public", "observed": "public", "effective": "public", "protocol": "http"},
    InboundStatus: {},
    NetworkStatus: {"inbound": {"ports": {}}},
}
"""Only what is indispensable."""


def full(cls: type[Any]) -> Json:
    return copy.deepcopy(FULL[cls])


def minimal(cls: type[Any]) -> Json:
    return copy.deepcopy(MINIMAL[cls])


def completed(stdout: str = "hi\n", stderr: str = "", exit_code: int = 0, **more: Any) -> Json:
    """Return the reply to a foreground run."""
    return {
        "stdout": stdout,
        "stdout_encoding": "utf-8",
        "stderr": stderr,
        "stderr_encoding": "utf-8",
        "exit_code": exit_code,
        "run_id": "run-1",
        **more,
    }
