"""The service itself."""

from __future__ import annotations

from tests.generations.walks.registry import walk
from tests.generations.wire import Wire


@walk
async def health(wire: Wire, vm: str) -> None:
    body = await wire.get("GET", "/v1/health")
    assert body["status"] == "ok"
    answer = await wire.ask("GET", "/v1/health", headers={"Authorization": ""})
    assert answer.status == 200


@walk
async def list_regions(wire: Wire, vm: str) -> None:
    answer = await wire.ask("GET", "/v1/regions", headers={"Authorization": ""})
    (region,) = answer.body["regions"]
    assert wire.url == region["endpoint"]


@walk
async def whoami(wire: Wire, vm: str) -> None:
    body = await wire.get("GET", "/v1/whoami")
    assert body["org_id"]
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
        assert (await wire.ask("GET", "/v1/whoami", headers=headers)).code == "unauthorized"
