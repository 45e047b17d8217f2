"""Pools and API keys, as for an organisation that has none."""

from __future__ import annotations

from typing import Any, Final

from tests.generations.walks.registry import walk
from tests.generations.wire import Wire

_UUID: Final = "8a0c8b52-6d93-4f8e-8d43-0123456789ab"


async def _none(wire: Wire, method: str, path: str, body: Any = None) -> None:
    await wire.refused("not_found", method, path, body)


@walk
async def list_pools(wire: Wire, vm: str) -> None:
    await _none(wire, "GET", "/v1/pools")


@walk
async def create_pool(wire: Wire, vm: str) -> None:
    await _none(wire, "POST", "/v1/pools", {"type": "self_hosted"})


@walk
async def get_pool(wire: Wire, vm: str) -> None:
    await _none(wire, "GET", f"/v1/pools/{_UUID}")


@walk
async def update_pool(wire: Wire, vm: str) -> None:
    await _none(wire, "PATCH", f"/v1/pools/{_UUID}", {"name": None})


@walk
async def delete_pool(wire: Wire, vm: str) -> None:
    await _none(wire, "DELETE", f"/v1/pools/{_UUID}")


@walk
async def list_pool_workers(wire: Wire, vm: str) -> None:
    await _none(wire, "GET", f"/v1/pools/{_UUID}/workers")


@walk
async def create_api_key(wire: Wire, vm: str) -> None:
    await _none(wire, "POST", "/v1/api-keys", {"name": "x"})


@walk
async def revoke_api_key(wire: Wire, vm: str) -> None:
    await _none(wire, "DELETE", "/v1/api-keys/none")


@walk
async def list_api_keys(wire: Wire, vm: str) -> None:
    await _none(wire, "GET", "/v1/api-keys")
