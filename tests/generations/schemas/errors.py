"""Errors: one schema a code, and what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.generations.schemas.notation import (
    FILLED,
    TIME,
    UINT32,
    UINT64,
    Schema,
    Schemas,
    closed,
    either,
    integer,
    one_of,
    opened,
    ref,
    some,
    text,
)

STATUSES: Final[Mapping[str, int]] = {
    "bad_request": 400,
    "insufficient_resources": 400,
    "unauthorized": 401,
    "payment_required": 402,
    "forbidden": 403,
    "action_required": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "resource_busy": 409,
    "already_exists": 409,
    "invalid_state": 409,
    "idempotency_conflict": 409,
    "expired": 410,
    "payload_too_large": 413,
    "unsupported_operation": 422,
    "unrecoverable": 422,
    "operation_failed": 422,
    "rate_limited": 429,
    "quota_exceeded": 429,
    "internal": 500,
    "unavailable": 503,
    "capacity_unavailable": 503,
    "gateway_timeout": 504,
}
"""The HTTP status of each code."""

_UINT64: Final = integer(0, UINT64)


def _amount(unit: str) -> Schema:
    return closed({"unit*": one_of(unit), "value*": _UINT64})


def _too_little(resource: str, amount: str, *, needed: bool = False) -> Schema:
    members = {"resource*": one_of(resource), "requested": ref(amount), "minimum": ref(amount)}
    return closed(members, **({"anyOf": [{"required": ["requested"]}, {"required": ["minimum"]}]} if needed else {}))


def _limit(metric: str, unit: str) -> Schema:
    return closed({"metric*": one_of(metric), "unit*": one_of(unit)})


def _error(code: str, **details: Schema) -> Schema:
    """Return the schema of a code. Details called ``some_details`` have to be there."""
    members = {"some_details": "details*"}
    return {
        "allOf": [
            ref("ErrorMetadata"),
            ref("ErrorExecutionContext"),
            opened({"code*": one_of(code), **{members.get(name, name): its for name, its in details.items()}}),
        ]
    }


_PLAIN: Final = {
    "Unauthorized": "unauthorized",
    "Forbidden": "forbidden",
    "IdempotencyConflict": "idempotency_conflict",
    "Unavailable": "unavailable",
    "Internal": "internal",
    "PaymentRequired": "payment_required",
    "GatewayTimeout": "gateway_timeout",
}
_WITH_RESOURCE: Final = {
    "NotFound": "not_found",
    "Conflict": "conflict",
    "ResourceBusy": "resource_busy",
    "AlreadyExists": "already_exists",
    "Expired": "expired",
}
_WITH_DETAILS: Final = {
    "InsufficientResources": "insufficient_resources",
    "InvalidState": "invalid_state",
    "MethodNotAllowed": "method_not_allowed",
    "UnsupportedOperation": "unsupported_operation",
    "Unrecoverable": "unrecoverable",
    "CapacityUnavailable": "capacity_unavailable",
    "RateLimited": "rate_limited",
    "QuotaExceeded": "quota_exceeded",
    "ActionRequired": "action_required",
    "OperationFailed": "operation_failed",
}
_CODES: Final[Schemas] = {
    "BadRequest": _error("bad_request", details=ref("BadRequestDetails")),
    "PayloadTooLarge": _error("payload_too_large", details=ref("PayloadTooLargeDetails")),
    **{name: _error(code) for name, code in _PLAIN.items()},
    **{name: _error(code, some_details=ref("ResourceErrorDetails")) for name, code in _WITH_RESOURCE.items()},
    **{name: _error(code, some_details=ref(f"{name}Details")) for name, code in _WITH_DETAILS.items()},
}
NAMES: Final[Mapping[str, str]] = {
    "bad_request": "BadRequest",
    "payload_too_large": "PayloadTooLarge",
    **{code: name for group in (_PLAIN, _WITH_RESOURCE, _WITH_DETAILS) for name, code in group.items()},
}
"""The schema of each code."""

_DETAILS: Final[Schemas] = {
    "BadRequestDetails": closed({"violations": some(ref("FieldViolation"), minItems=1)}),
    "FieldViolation": closed({"field*": FILLED, "message*": FILLED}),
    "ResourceErrorDetails": closed({"resource*": ref("ResourceKind")}),
    "InvalidStateDetails": closed({"resource*": ref("ResourceRef"), "requirement*": ref("StateRequirement")}),
    "PayloadTooLargeDetails": closed({"maximum_bytes": _UINT64, "request_bytes": _UINT64}),
    "MethodNotAllowedDetails": closed({"allowed_methods*": some(ref("HttpMethod"), minItems=1, uniqueItems=True)}),
    "UnsupportedOperationDetails": closed(
        {"reason*": ref("UnsupportedReason"), "feature": ref("Feature"), "resource": ref("ResourceRef")}
    ),
    "UnrecoverableDetails": closed({"resource*": ref("ResourceRef")}),
    "CapacityUnavailableDetails": closed({"scope*": ref("CapacityScope"), "resource": ref("ComputeResource")}),
    "RateLimitedDetails": closed({"limiter*": ref("RateLimiter")}),
    "ActionRequiredDetails": closed({"action*": ref("RequiredAction")}),
    "OperationFailedDetails": closed({"reason*": ref("OperationFailureReason")}),
    "InsufficientResourcesDetails": either(
        *[
            ref(f"{name}InsufficientResourcesDetails")
            for name in ("Cpu", "Memory", "Disk", "GpuDevices", "GpuSms", "GpuVram")
        ]
    ),
    "CpuInsufficientResourcesDetails": _too_little("cpu", "CpuAmount"),
    "MemoryInsufficientResourcesDetails": _too_little("memory", "ByteAmount"),
    "DiskInsufficientResourcesDetails": _too_little("disk", "ByteAmount"),
    "GpuDevicesInsufficientResourcesDetails": _too_little("gpu", "GpuDeviceAmount"),
    "GpuSmsInsufficientResourcesDetails": _too_little("gpu", "GpuSmAmount", needed=True),
    "GpuVramInsufficientResourcesDetails": _too_little("gpu", "GpuVramAmount", needed=True),
    "ByteAmount": _amount("bytes"),
    "CpuAmount": _amount("vcpus"),
    "GpuDeviceAmount": _amount("gpu_devices"),
    "GpuSmAmount": _amount("gpu_sms"),
    "GpuVramAmount": _amount("gpu_vram_bytes"),
}
_QUOTAS: Final[Schemas] = {
    "QuotaExceededDetails": closed(
        {
            "limit*": ref("LimitDescriptor"),
            "scope*": ref("LimitScope"),
            "enforcement*": ref("EnforcementScope"),
            "measurements*": ref("QuotaMeasurements"),
        }
    ),
    "LimitDescriptor": either(
        *[
            ref(f"{name}Limit")
            for name in ("Vcpu", "Ram", "Disk", "GpuVram", "GpuSm", "PtySession", "PoolCount", "PoolWorker", "Budget")
        ]
    ),
    "VcpuLimit": _limit("vcpus", "vcpus"),
    "RamLimit": _limit("ram_mib", "mib"),
    "DiskLimit": _limit("disk_mib", "mib"),
    "GpuVramLimit": _limit("gpu_vram_mib", "mib"),
    "GpuSmLimit": _limit("gpu_sms", "sms"),
    "PtySessionLimit": _limit("pty_sessions", "sessions"),
    "PoolCountLimit": _limit("pools", "pools"),
    "PoolWorkerLimit": _limit("pool_workers", "workers"),
    "BudgetLimit": closed(
        {
            "metric*": one_of("budget"),
            "unit*": one_of("minor_currency_units"),
            "currency*": text(pattern="^[A-Z]{3}$"),
            "period*": ref("BudgetPeriod"),
        }
    ),
    "BudgetPeriod": closed({"start*": TIME, "end*": TIME}),
    "LimitScope": either(ref("VmLimitScope"), ref("RegionLimitScope"), ref("OrganizationLimitScope")),
    "VmLimitScope": closed({"kind*": one_of("vm"), "vm_id*": FILLED}),
    "RegionLimitScope": closed({"kind*": one_of("region"), "region*": FILLED}),
    "OrganizationLimitScope": closed({"kind*": one_of("organization")}),
    "QuotaMeasurements": either(ref("MeasuredQuota"), ref("UnmeasuredQuota")),
    "MeasuredQuota": closed(
        {
            "kind*": one_of("measured"),
            **dict.fromkeys(("current_usage", "requested_increment", "projected_usage", "cap"), integer(0)),
        },
        minProperties=2,
    ),
    "UnmeasuredQuota": closed({"kind*": one_of("unmeasured")}),
}
_ENUMS: Final[Schemas] = {
    "ErrorCode": one_of(*STATUSES),
    "HttpMethod": one_of("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"),
    "ExecutionStage": one_of(
        "image_pull", "image_conversion", "image_configuration", "image_command", "dockerfile_build", "restore"
    ),
    "ComputeResource": one_of("cpu", "memory", "disk", "gpu"),
    "ResourceKind": one_of(
        *("vm", "source", "run", "session", "filesystem", "mount", "file", "sync", "upload", "api_key", "ssh_key"),
        *("ssh_setup", "organization", "route", "billing", "correction_review", "webhook", "resource", "pool"),
        *("pool_name", "worker"),
    ),
    "CapacityScope": one_of("worker", "region", "platform"),
    "RateLimiter": one_of("arker", "upstream"),
    "StateRequirement": one_of("running", "mutable", "unclaimed", "uncommitted", "not_deleting"),
    "UnsupportedReason": one_of("feature_not_supported", "platform_mismatch", "restore_requires_birth_host"),
    "RequiredAction": one_of("accept_legal_terms", "convert_billing_plan", "add_payment_method"),
    "OperationFailureReason": one_of(
        *("image_pull_failed", "image_conversion_failed", "command_failed", "unexpected_interpreter"),
        "deadline_exceeded",
    ),
    "Feature": one_of(
        *("durability", "nested_virtualization", "diskless", "filesystem_only_fork", "shared_filesystem"),
        *("persistent_pty", "network_policy", "public_ingress", "guest_control", "platform", "systemd", "restore"),
    ),
    "WorkState": one_of("not_started", "stopped", "continuing", "unknown"),
    "EnforcementScope": one_of("worker_local", "regional", "global"),
}
_CONTEXT: Final[Schemas] = {
    "ErrorMetadata": opened(
        {
            "message*": FILLED,
            "timestamp*": TIME,
            "request_id*": FILLED,
            "request*": ref("RequestContext"),
            "retry_after_seconds": integer(0, UINT32),
        }
    ),
    "ErrorExecutionContext": opened({"stage": ref("ExecutionStage"), "recovery": ref("RecoveryContext")}),
    "RequestContext": either(ref("MatchedRequestContext"), ref("UnmatchedRequestContext")),
    "MatchedRequestContext": closed({"kind*": one_of("matched"), "operation_id*": ref("OpenApiOperationId")}),
    "UnmatchedRequestContext": closed(
        {"kind*": one_of("unmatched"), "method*": text(minLength=1, pattern="^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")}
    ),
    "RecoveryContext": closed({"work*": ref("WorkState"), "context": ref("RecoveryDetails")}),
    "RecoveryDetails": closed(
        {
            "vm_id": FILLED,
            "run_id": FILLED,
            "step_index": integer(0),
            "step_count": integer(1),
            "completed_steps": integer(0),
            "exit_code": integer(),
        },
        dependentRequired={"run_id": ["vm_id"]},
    ),
    "ResourceRef": closed({"kind*": ref("ResourceKind"), "id": FILLED}),
}

ERRORS: Final[Schemas] = {
    **_CODES,
    **_DETAILS,
    **_QUOTAS,
    **_ENUMS,
    **_CONTEXT,
    "ErrorBody": either(*[ref(name) for name in NAMES.values()]),
    "ErrorResponse": closed({"error*": ref("ErrorBody")}),
}
