"""What the embedded backend answers in generation 1: every operation, as the contract has it."""

from __future__ import annotations

import aiohttp
import pytest

from arker.emulator import Emulator
from tests.generations.schemas.errors import STATUSES
from tests.generations.schemas.operations import OPERATIONS
from tests.generations.walks import WALKS
from tests.generations.walks.registry import NOWHERE
from tests.generations.wire import Wire
from tests.support.length import cases

pytestmark = pytest.mark.anyio

_OF_WORKERS = {"heartbeatWorker", "openWorkerTunnel", "putWorkerVm", "deleteWorkerVm", "putWorkerRun"}
"""Only the machines of a pool send these."""
_IN_BOTH = ("fork", "listVms", "patchVm", "createRun", "getRun", "createSession", "createMount", "sync", "listOrgRuns")
"""What differs most where a server speaks both."""
_FORK = next(operation for operation in OPERATIONS if operation.name == "fork")
_ROUTES_OF_BEFORE = [
    ("POST", "resize", {"vcpu_count": 2}),
    ("GET", "tunnels", None),
    ("POST", "tunnels", {"ports": [8080]}),
    ("GET", "syncs", None),
    ("POST", "syncs", {"filesystem_id": "x"}),
]


def test_every_operation_has_a_way() -> None:
    assert set(WALKS) == {operation.name for operation in OPERATIONS} - _OF_WORKERS


@pytest.mark.parametrize("name", WALKS)
async def test_an_operation(wire: Wire, name: str) -> None:
    vm = f"/v1/vms/{await wire.fork()}"
    await WALKS[name](wire, vm)
    assert any(operation == name for operation, _ in wire.seen)


@pytest.mark.parametrize("name", cases(_IN_BOTH, rest=[name for name in WALKS if name not in _IN_BOTH]))
async def test_an_operation_with_the_members_of_both(both: Emulator, name: str) -> None:
    """A backend of both generations answers a client of today as one of generation 1 does, and adds members."""
    await both.areset()
    async with aiohttp.ClientSession() as session:
        wire = Wire(session, both.url, both.api_key, closed=False)
        vm = f"/v1/vms/{await wire.fork()}"
        await WALKS[name](wire, vm)


async def test_what_stands_for_no_operation(wire: Wire) -> None:
    vm = f"/v1/vms/{await wire.fork()}"
    for path in ("/v1/nothing", "/v1", "/", f"{vm}/cats", f"{vm}/runs/x/y"):
        assert await wire.refused("not_found", "GET", path) == {"resource": "route"}
    for method, path, body in _ROUTES_OF_BEFORE:
        assert await wire.refused("not_found", method, f"{vm}/{path}", body) == {"resource": "route"}
    for method, path, allowed in (
        ("PUT", "/v1/fork", {"POST"}),
        ("DELETE", "/v1/vms", {"GET"}),
        ("POST", vm, {"GET", "DELETE", "PATCH"}),
        ("PATCH", f"{vm}/runs", {"GET", "POST"}),
        ("POST", "/v1/health", {"GET"}),
    ):
        details = await wire.refused("method_not_allowed", method, path, {})
        assert set(details["allowed_methods"]) - {"HEAD", "OPTIONS"} == allowed


@pytest.mark.parametrize("code", sorted(frozenset[str]().union(*[operation.errors for operation in OPERATIONS])))
async def test_an_error_that_a_test_asks_for(generation_1: Emulator, wire: Wire, code: str) -> None:
    """Faults answer in the shape of the backend's generation, with details of the code's own schema."""
    path, body = "/v1/fork", {"source_vm_id": "ubuntu"}
    if code not in _FORK.errors:
        path, body = f"{NOWHERE}/runs", {"command": "true"}
    with generation_1.faults.error(status=STATUSES[code], code=code, retry_after=2) as fault:
        await wire.refused(code, "POST", path, body)
    assert fault.fired == 1
