"""Operations that the embedded backend answers as the service does for an organisation that may not use them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiohttp import web

from arker.emulator.server.backend import Backend
from arker.emulator.server.errors import missing, unsupported
from arker.emulator.server.operation import Handler, Operation
from arker.emulator.server.operations.sessions import TERMINAL_MAXIMUM, find_session
from arker.emulator.server.parsing import read_fields
from arker.emulator.server.records import Organisation


async def update_session(backend: Backend, org: Organisation, request: web.Request) -> web.StreamResponse:
    """Refuse to change a terminal."""
    fields = await read_fields(backend, "PatchSessionRequest", request)
    for name in ("cols", "rows"):
        fields.integer(name, minimum=1, maximum=TERMINAL_MAXIMUM)
    fields.integer("timeout_secs", minimum=0)
    return await no_terminal(backend, org, request)


async def no_terminal(backend: Backend, org: Organisation, request: web.Request) -> web.StreamResponse:
    """Refuse what needs a terminal."""
    find_session(backend.vm(org, request.match_info["vm_id"]), request.match_info["session_id"])
    raise unsupported("sessions of the embedded backend have no terminals", "persistent_pty")


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

__all__ = ["OPERATIONS", "no_terminal", "update_session"]
