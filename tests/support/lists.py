"""A long list of VMs, as a scripted server gives it page by page."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

from tests.support.server import Recorded, Reply, ok

_VM: Final = {
    "state": "idle",
    "name": "n" * 200,
    "owner_org_id": "o" * 200,
    "created_at": "2026-01-02T03:04:05Z",
}


class VmList:
    """Answers ``GET /v1/vms`` with VMs named ``vm-0``, ``vm-1``…; the cursor is the number of the next one."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __call__(self, request: Recorded) -> Reply:
        query = parse_qs(request.query)
        begin, limit = int(query.get("cursor", ["0"])[0]), int(query["limit"][0])
        end = min(begin + limit, self._number)
        vms = [{"vm_id": f"vm-{each}", **_VM} for each in range(begin, end)]
        return ok({"vms": vms, "next_cursor": str(end) if end < self._number else None})


__all__ = ["VmList"]
