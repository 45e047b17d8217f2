"""The aiohttp application: routes, tokens, request ids and error bodies (contract, sections 3 and 5)."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import orjson
from aiohttp import web

from arker.emulator.server import files, runs, transfers, vms
from arker.emulator.server.backend import Backend, logger
from arker.emulator.server.errors import ServiceError
from arker.emulator.server.presign import PREFIX
from arker.emulator.server.records import Organisation

API: Final = "/api"
MAX_BODY: Final = 32 * 1024 * 1024
"""Bytes of a JSON body; the largest that is of use is a write of 8 MiB in base64, or a command of some megabytes."""

_Operation: TypeAlias = Callable[[Backend, Organisation, web.Request], Awaitable[web.StreamResponse]]
_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_VM = "/v1/vms/{vm_id:[^/]+}"
_OPERATIONS: tuple[tuple[str, str, _Operation], ...] = (
    ("POST", f"{_VM}/runs", runs.start_run),
    ("GET", f"{_VM}/runs", runs.list_runs),
    ("GET", f"{_VM}/runs/{{run_id:[^/]+}}", runs.get_run),
    ("DELETE", f"{_VM}/runs/{{run_id:[^/]+}}", runs.cancel_run),
    ("POST", f"{_VM}/sync", files.sync),
    ("GET", _VM, vms.get_vm),
    ("DELETE", _VM, vms.delete_vm),
    ("POST", "/v1/fork", vms.fork),
    ("GET", "/v1/vms", vms.list_vms),
)
_LATER: tuple[tuple[str, str], ...] = (
    ("POST", f"{_VM}/resize"),
    *[
        entry
        for kind in ("sessions", "tunnels", "syncs")
        for entry in (
            ("GET", f"{_VM}/{kind}"),
            ("POST", f"{_VM}/{kind}"),
            ("GET", f"{_VM}/{kind}/{{key:[^/]+}}"),
            ("DELETE", f"{_VM}/{kind}/{{key:[^/]+}}"),
        )
    ],
    ("GET", "/v1/filesystems"),
    ("POST", "/v1/filesystems"),
    ("GET", "/v1/filesystems/{key:[^/]+}"),
    ("DELETE", "/v1/filesystems/{key:[^/]+}"),
    ("GET", "/v1/runs"),
)


async def _not_implemented(backend: Backend, org: Organisation, request: web.Request) -> web.StreamResponse:
    raise ServiceError("not_implemented", f"this server does not know {request.method} of this path yet")


def _error_response(error: ServiceError) -> web.Response:
    return web.Response(
        body=orjson.dumps(error.body()), status=error.status, headers=error.headers, content_type="application/json"
    )


@web.middleware
async def _boundary(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Every failure becomes an error body. The query is never logged: it may hold a signature."""
    try:
        return await handler(request)
    except ServiceError as error:
        return _error_response(error)
    except web.HTTPRequestEntityTooLarge:
        return _error_response(ServiceError("payload_too_large", f"a body has at most {MAX_BODY} bytes"))
    except web.HTTPException as error:
        if error.status in {404, 405}:
            return _error_response(ServiceError("not_found", f"there is no operation {request.method} of this path"))
        return _error_response(ServiceError("bad_request", error.reason, status=error.status))
    except web.RequestPayloadError:
        return _error_response(ServiceError("bad_request", "the body did not arrive whole"))
    except ConnectionError:
        # The client has gone, or has to be told by the end of the connection. What is returned is not sent any more.
        if request.transport is not None:
            request.transport.close()
        return web.Response(status=500)
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        return _error_response(ServiceError("internal", "the server failed; its log says why"))


def _request_ids() -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    prefix, numbers = secrets.token_hex(6), itertools.count(1)

    async def add_request_id(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["x-request-id"] = f"req_{prefix}_{next(numbers)}"

    return add_request_id


def create_app(backend: Backend) -> web.Application:
    """The application of one server."""

    def authenticated(operation: _Operation) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            org = backend.authenticate(request.headers.get("Authorization"))
            if backend.closing:
                raise ServiceError("unavailable", "the server is ending")
            return await operation(backend, org, request)

        return handle

    def presigned(operation: Callable[[Backend, web.Request], Awaitable[web.StreamResponse]]) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await operation(backend, request)

        return handle

    app = web.Application(middlewares=[_boundary], client_max_size=MAX_BODY)
    app.on_response_prepare.append(_request_ids())
    for method, path, operation in _OPERATIONS:
        app.router.add_route(method, API + path, authenticated(operation))
    for method, path in _LATER:
        app.router.add_route(method, API + path, authenticated(_not_implemented))
    app.router.add_route("PUT", f"{PREFIX}/{{vm_id}}", presigned(transfers.put_file))
    app.router.add_route("GET", f"{PREFIX}/{{vm_id}}", presigned(transfers.get_file))
    return app


__all__ = ["API", "create_app"]
