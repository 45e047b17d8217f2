"""The operations of generation 1: what they take, what they give, and how they fail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from tests.generations.schemas.errors import ERRORS
from tests.generations.schemas.files import FILES
from tests.generations.schemas.filesystems import FILESYSTEMS
from tests.generations.schemas.notation import Schema, Schemas, one_of, text
from tests.generations.schemas.policies import POLICIES
from tests.generations.schemas.pools import POOLS
from tests.generations.schemas.runs import RUNS
from tests.generations.schemas.service import SERVICE
from tests.generations.schemas.sessions import SESSIONS
from tests.generations.schemas.vms import VMS


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


@frozen
class Operation:
    """One operation.

    Attributes:
        name: Its name in the service's own document.
        path: Its path below the base URL; parts that vary stand in braces.
        errors: The codes that it fails with.
        gives: The schema of each success status; None for one without a body.
        takes: The schema of its body; None for an operation without one.
        query: The schemas of its query parameters, as the texts that stand in a query.
        keyed: Whether it heeds an ``Idempotency-Key``.
        public: Whether it needs no key.
    """

    name: str
    method: str
    path: str
    errors: frozenset[str] = field(converter=_codes)
    gives: Mapping[int, str | None] = field(factory=dict[int, "str | None"], kw_only=True)
    takes: str | None = field(default=None, kw_only=True)
    query: Mapping[str, Schema] = field(factory=dict[str, Schema], kw_only=True)
    keyed: bool = field(default=False, kw_only=True)
    public: bool = field(default=False, kw_only=True)

    @property
    def pattern(self) -> re.Pattern[str]:
        """What its paths match."""
        return re.compile(re.sub(r"\{\w+\}", "[^/]+", self.path))


_TEXT: Final = text()
_NUMBER: Final = text(pattern="^[0-9]+$")
_LIMIT: Final = text(pattern="^([1-9][0-9]{0,2}|1000)$")
_SIZE: Final = text(pattern="^[1-9][0-9]{0,3}$")
_TIME: Final = text(format="date-time")
_BOOLEAN: Final = one_of("true", "false", "True", "False")
_PAGE: Final = {"cursor": _TEXT, "limit": _LIMIT}
_LIST: Final = text(pattern="^[^,]+(,[^,]+)*$")

_COMMON: Final = "internal unavailable"
_KEYED: Final = f"unauthorized forbidden rate_limited {_COMMON}"
_LISTED: Final = f"bad_request {_KEYED}"
_OF_VM: Final = f"not_found gateway_timeout {_LISTED}"
_IN_VM: Final = f"invalid_state {_OF_VM}"
_VM: Final = "/v1/vms/{id}"
_SESSION: Final = f"{_VM}/sessions/{{sid}}"
_POOL: Final = "/v1/pools/{pool_id}"
_WORKER: Final = f"{_POOL}/workers/{{worker_id}}"
_POOL_ERRORS: Final = f"not_found {_KEYED}"
_WORKER_ERRORS: Final = f"unsupported_operation {_POOL_ERRORS}"

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation("health", "GET", "/v1/health", _COMMON, gives={200: "HealthResponse"}, public=True),
    Operation("listRegions", "GET", "/v1/regions", _COMMON, gives={200: "ListRegionsResponse"}, public=True),
    Operation("whoami", "GET", "/v1/whoami", _KEYED, gives={200: "WhoamiResponse"}),
    Operation(
        "fork",
        "POST",
        "/v1/fork",
        f"""{_OF_VM} insufficient_resources payment_required already_exists conflict invalid_state resource_busy
        payload_too_large operation_failed unrecoverable unsupported_operation quota_exceeded capacity_unavailable""",
        takes="ForkRequest",
        gives={200: "Vm"},
        keyed=True,
    ),
    Operation(
        "listVms",
        "GET",
        "/v1/vms",
        _LISTED,
        gives={200: "ListVmsResponse"},
        query={
            **_PAGE,
            "region": _LIST,
            "provider": _LIST,
            "org_id": _TEXT,
            "public": _BOOLEAN,
            "state": _LIST,
            "platform": _LIST,
            "created_after": _TIME,
            "created_before": _TIME,
            "pool_id": text(format="uuid"),
        },
    ),
    Operation(
        "listOrgRuns",
        "GET",
        "/v1/runs",
        _LISTED,
        gives={200: "ListOrgRunsResponse"},
        query={
            "since": _NUMBER,
            "until": _NUMBER,
            "vm": _TEXT,
            "vms": _LIST,
            "search": _TEXT,
            "limit": text(pattern="^[1-9][0-9]{0,4}$"),
            "offset": _NUMBER,
            "lite": _BOOLEAN,
            "runtime": _TEXT,
            "endpoint": one_of("run", "fork", "sync"),
            "actions": _LIST,
            "status": _LIST,
            "status_min": _NUMBER,
            "status_max": _NUMBER,
            "sort": one_of("when", "status", "path", "total", "queue", "your_code", "runtime"),
            "dir": one_of("asc", "desc"),
        },
    ),
    Operation("getVm", "GET", _VM, _OF_VM, gives={200: "Vm"}),
    Operation("deleteVm", "DELETE", _VM, f"{_IN_VM} resource_busy", gives={200: "DeleteVmResponse"}),
    Operation(
        "patchVm",
        "PATCH",
        _VM,
        f"""{_IN_VM} payment_required already_exists resource_busy payload_too_large unsupported_operation
        quota_exceeded capacity_unavailable""",
        takes="PatchVmRequest",
        gives={200: "Vm"},
    ),
    Operation("getVmPolicies", "GET", f"{_VM}/policies", f"{_IN_VM} unsupported_operation", gives={200: "PolicyDoc"}),
    Operation(
        "putVmPolicies",
        "PUT",
        f"{_VM}/policies",
        f"{_IN_VM} payload_too_large unsupported_operation",
        takes="PolicyWriteRequest",
        gives={200: "PolicyDoc"},
    ),
    Operation(
        "createRun",
        "POST",
        f"{_VM}/runs",
        f"""{_IN_VM} payment_required conflict idempotency_conflict resource_busy payload_too_large unrecoverable
        unsupported_operation quota_exceeded capacity_unavailable""",
        takes="RunRequest",
        gives={200: "CompletedRunResponse", 202: "BackgroundRunResponse"},
        keyed=True,
    ),
    Operation(
        "listRuns",
        "GET",
        f"{_VM}/runs",
        _IN_VM,
        gives={200: "ListRunsResponse"},
        query={**_PAGE, "state": _LIST, "started_after": _TIME, "started_before": _TIME, "completed_after": _TIME},
    ),
    Operation("getRun", "GET", f"{_VM}/runs/{{run_id}}", _IN_VM, gives={200: "Run"}),
    Operation(
        "cancelRun",
        "DELETE",
        f"{_VM}/runs/{{run_id}}",
        f"{_IN_VM} unsupported_operation",
        gives={200: "CancelRunResponse"},
    ),
    Operation(
        "listSessions",
        "GET",
        f"{_VM}/sessions",
        _IN_VM,
        gives={200: "ListSessionsResponse"},
        query={**_PAGE, "state": _LIST},
    ),
    Operation(
        "createSession",
        "POST",
        f"{_VM}/sessions",
        f"{_IN_VM} payment_required conflict payload_too_large quota_exceeded",
        takes="CreateSessionRequest",
        gives={200: "Session"},
    ),
    Operation("getSession", "GET", _SESSION, _IN_VM, gives={200: "Session"}),
    Operation(
        "patchSession",
        "PATCH",
        _SESSION,
        f"{_IN_VM} payload_too_large",
        takes="PatchSessionRequest",
        gives={200: "PatchSessionResponse"},
    ),
    Operation("deleteSession", "DELETE", _SESSION, _IN_VM, gives={200: "DeleteSessionResponse"}),
    Operation(
        "attachSessionPty",
        "GET",
        f"{_SESSION}/pty",
        f"{_IN_VM} payment_required resource_busy unsupported_operation quota_exceeded",
        gives={101: None},
        query={
            "cols": _SIZE,
            "rows": _SIZE,
            "command": _TEXT,
            "persist": _BOOLEAN,
            "cancel_ttl_secs": _NUMBER,
            "ticket": _TEXT,
        },
    ),
    Operation(
        "mintSessionPtyTicket",
        "POST",
        f"{_SESSION}/pty-ticket",
        f"{_IN_VM} payment_required payload_too_large quota_exceeded",
        takes="PtyTicketRequest",
        gives={200: "PtyTicketResponse"},
    ),
    Operation(
        "createMount",
        "POST",
        f"{_VM}/mounts",
        f"{_IN_VM} payment_required conflict payload_too_large unsupported_operation",
        takes="MountCreateRequest",
        gives={200: "Mount"},
    ),
    Operation(
        "listMounts",
        "GET",
        f"{_VM}/mounts",
        f"{_IN_VM} unsupported_operation",
        gives={200: "ListMountsResponse"},
        query={**_PAGE, "filesystem_id": _TEXT},
    ),
    Operation(
        "deleteMount",
        "DELETE",
        f"{_VM}/mounts/{{mount_id}}",
        f"{_IN_VM} unsupported_operation",
        gives={200: "DeleteMountResponse"},
    ),
    Operation(
        "sync",
        "POST",
        f"{_VM}/sync",
        f"""{_IN_VM} payment_required conflict resource_busy payload_too_large unsupported_operation quota_exceeded
        capacity_unavailable""",
        takes="SyncRequest",
        gives={200: "SyncResponse"},
    ),
    Operation(
        "listFilesystems",
        "GET",
        "/v1/filesystems",
        f"{_LISTED} unsupported_operation gateway_timeout",
        gives={200: "ListFilesystemsResponse"},
        query={**_PAGE, "name_prefix": _TEXT},
    ),
    Operation(
        "createFilesystem",
        "POST",
        "/v1/filesystems",
        f"{_LISTED} already_exists payload_too_large unsupported_operation gateway_timeout",
        takes="FilesystemCreateRequest",
        gives={200: "Filesystem"},
    ),
    Operation(
        "getFilesystem",
        "GET",
        "/v1/filesystems/{filesystem_id}",
        f"{_OF_VM} unsupported_operation",
        gives={200: "Filesystem"},
    ),
    Operation(
        "deleteFilesystem",
        "DELETE",
        "/v1/filesystems/{filesystem_id}",
        f"{_OF_VM} unsupported_operation",
        gives={200: "DeleteFilesystemResponse"},
    ),
    Operation(
        "listPools",
        "GET",
        "/v1/pools",
        f"bad_request {_POOL_ERRORS}",
        gives={200: "ListPoolsResponse"},
        query=_PAGE,
    ),
    Operation(
        "createPool",
        "POST",
        "/v1/pools",
        f"bad_request already_exists quota_exceeded {_WORKER_ERRORS}",
        takes="CreatePoolRequest",
        gives={201: "Pool"},
    ),
    Operation("getPool", "GET", _POOL, _POOL_ERRORS, gives={200: "Pool"}),
    Operation(
        "updatePool",
        "PATCH",
        _POOL,
        f"bad_request already_exists invalid_state quota_exceeded {_WORKER_ERRORS}",
        takes="UpdatePoolRequest",
        gives={200: "Pool"},
    ),
    Operation("deletePool", "DELETE", _POOL, f"invalid_state {_POOL_ERRORS}", gives={202: "Pool"}),
    Operation("listPoolWorkers", "GET", f"{_POOL}/workers", _WORKER_ERRORS, gives={200: "ListPoolWorkersResponse"}),
    Operation("heartbeatWorker", "PUT", _WORKER, f"bad_request conflict quota_exceeded {_WORKER_ERRORS}"),
    Operation("openWorkerTunnel", "GET", f"{_WORKER}/tunnel", f"bad_request invalid_state {_WORKER_ERRORS}"),
    Operation("putWorkerVm", "PUT", f"{_WORKER}/vms/{{vm_id}}", f"bad_request invalid_state {_WORKER_ERRORS}"),
    Operation("deleteWorkerVm", "DELETE", f"{_WORKER}/vms/{{vm_id}}", _WORKER_ERRORS),
    Operation(
        "putWorkerRun",
        "PUT",
        f"{_WORKER}/vms/{{vm_id}}/runs/{{run_id}}",
        f"bad_request invalid_state {_WORKER_ERRORS}",
    ),
    # An organisation that has no API keys gets 404 from all three.
    Operation("listApiKeys", "GET", "/v1/api-keys", f"not_found {_KEYED}", gives={200: "ListApiKeysResponse"}),
    Operation(
        "createApiKey",
        "POST",
        "/v1/api-keys",
        f"bad_request not_found {_KEYED}",
        takes="CreateApiKeyRequest",
        gives={201: "CreatedApiKey"},
    ),
    Operation("revokeApiKey", "DELETE", "/v1/api-keys/{api_key_id}", f"not_found {_KEYED}", gives={204: None}),
)

SCHEMAS: Final[Schemas] = {
    **SERVICE,
    **ERRORS,
    **POLICIES,
    **VMS,
    **RUNS,
    **SESSIONS,
    **FILESYSTEMS,
    **FILES,
    **POOLS,
    "OpenApiOperationId": one_of(*[operation.name for operation in OPERATIONS]),
}
"""Every schema of the contract, by its name there."""
