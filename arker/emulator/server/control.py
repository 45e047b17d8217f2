"""What can be done to the server itself, beside the contract: for tests that use it. Only the server's own key may.

These operations are in no run list and not in the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from aiohttp import web

from arker.emulator.options import LOCAL_ORG_ID
from arker.emulator.server import replies
from arker.emulator.server.backend import Backend
from arker.emulator.server.errors import ServiceError
from arker.emulator.server.reset import reset

PREFIX: Final = "/emulator"

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def reset_server(backend: Backend, request: web.Request) -> web.StreamResponse:
    removed = await reset(backend)
    return replies.json_response({"vms": removed.vms, "filesystems": removed.filesystems})


_OPERATIONS: Final = (("POST", "/reset", reset_server),)


def routes(backend: Backend) -> list[tuple[str, str, Handler]]:
    """Method, path below the API's and handler of each."""

    def owned(operation: Callable[[Backend, web.Request], Awaitable[web.StreamResponse]]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            if backend.authenticate(request.headers.get("Authorization")).org_id != LOCAL_ORG_ID:
                raise ServiceError("forbidden", "only the server's own API key may do this")
            if backend.closing:
                raise ServiceError("unavailable", "the server is ending")
            return await operation(backend, request)

        return handle

    return [(method, PREFIX + path, owned(operation)) for method, path, operation in _OPERATIONS]


__all__ = ["PREFIX", "routes"]
