"""What servers of generation 1 answer, beside one of 0.5, and clients that have to find out what they speak to."""

from __future__ import annotations

from typing import Any

from arker import AsyncArker
from tests.support.clients import COMPUTE, make_client
from tests.support.server import Reply, ScriptedServer, error, ok

HEALTHY = ok({"status": "ok", "timestamp": "2026-11-02T03:04:05Z"})
PATCH, POST = f"PATCH {COMPUTE}/v1/vms/v", f"POST {COMPUTE}/v1/vms/v/resize"
HEALTH = f"GET {COMPUTE}/v1/health"
NO_ROUTE = error("not_found", "no such route", status=404)
VM_OF_TODAY: dict[str, Any] = {
    "vm_id": "v",
    "owner_org_id": "acme",
    "created_at": "2026-11-02T03:04:05Z",
    "description": None,
    "public": False,
    "state": "idle",
    "network": {},
    "sessions": [],
    "resources": {"vcpu": 3, "memory_mib": 512, "disk_mib": 4096},
}

OLD_VM: dict[str, Any] = {"vm_id": "v", "created_at": "2026-06-02T03:04:05Z", "vcpu_count": 1}


def nested(code: str, message: str = "no", *, status: int, **members: Any) -> Reply:
    """Return an error of generation 1."""
    said = {
        "code": code,
        "message": message,
        "timestamp": "2026-11-02T03:04:05Z",
        "request_id": "req-1",
        "request": {"kind": "matched", "operation_id": "fork"},
        **members,
    }
    return ok({"error": said}, status=status)


NO_OPERATION = nested(
    "not_found", status=404, details={"resource": "route"}, request={"kind": "unmatched", "method": "POST"}
)


def sent(server: ScriptedServer) -> list[str]:
    return [f"{request.method} {request.path}" for request in server.requests]


def auto(server: ScriptedServer, **options: Any) -> AsyncArker:
    return make_client(server, generation="auto", **options)


__all__ = [
    "HEALTH",
    "HEALTHY",
    "NO_OPERATION",
    "NO_ROUTE",
    "OLD_VM",
    "PATCH",
    "POST",
    "VM_OF_TODAY",
    "auto",
    "nested",
    "sent",
]
