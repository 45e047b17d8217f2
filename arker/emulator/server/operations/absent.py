"""Operations that the embedded backend answers as the service does for an organisation that may not use them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiohttp import web

from arker.emulator.server.backend import Backend
from arker.emulator.server.errors import missing
from arker.emulator.server.operation import Handler, Operation
from arker.emulator.server.records import Organisation


def _none_of(resource: str, what: str) -> Handler:
    async def refuse(backend: Backend, org: Organisation, request: web.Request) -> web.StreamResponse:
        raise missing(resource, f"the organisation {org.org_id} has no {what}")

    return refuse


_TABLE: Final = (
    ("list_pools", "listPools", "GET", "/v1/pools"),
    ("create_pool", "createPool", "POST", "/v1/pools"),
    ("get_pool", "getPool", "GET", "/v1/pools/{pool_id}"),
    ("update_pool", "updatePool", "PATCH", "/v1/pools/{pool_id}"),
    ("delete_pool", "deletePool", "DELETE", "/v1/pools/{pool_id}"),
    ("list_pool_workers", "listPoolWorkers", "GET", "/v1/pools/{pool_id}/workers"),
    ("list_api_keys", "listApiKeys", "GET", "/v1/api-keys"),
    ("create_api_key", "createApiKey", "POST", "/v1/api-keys"),
    ("revoke_api_key", "revokeApiKey", "DELETE", "/v1/api-keys/{api_key_id}"),
)


def _operations() -> Iterator[Operation]:
    for name, operation_id, method, path in _TABLE:
        resource, what = ("pool", "pools") if "pool" in name else ("api_key", "API keys that can be managed here")
        yield Operation(
            name=name,
            id=operation_id,
            method=method,
            path=path,
            handler=_none_of(resource, what),
            summary=f"Answer that the organisation has no {what}",
            errors=(404,),
        )


OPERATIONS: Final = tuple(_operations())

__all__ = ["OPERATIONS"]
