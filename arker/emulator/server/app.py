"""The aiohttp application: routes, tokens, request ids and error bodies (contract, sections 3 and 5)."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware

from arker.emulator.server import control, openapi, transfers
from arker.emulator.server.backend import Backend, logger
from arker.emulator.server.errors import ServiceError
from arker.emulator.server.journal import Trace, attach, trace_of
from arker.emulator.server.presign import PREFIX
from arker.emulator.server.routes import OPERATIONS, Operation

API: Final = "/api"
MAX_BODY: Final = 32 * 1024 * 1024
"""Bytes of a JSON body; the largest that is of use is a write of 8 MiB in base64, or a command of some megabytes."""

_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _error_response(error: ServiceError) -> web.Response:
    return web.Response(
        body=orjson.dumps(error.body()), status=error.status, headers=error.headers, content_type="application/json"
    )


async def _answer(request: web.Request, handler: _Handler) -> web.StreamResponse:
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


def _boundary(backend: Backend) -> Middleware:
    prefix, numbers = secrets.token_hex(6), itertools.count(1)

    @web.middleware
    async def boundary(request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Number each request, answer it whatever happens, and note what became of it."""
        trace = attach(request, Trace(request_id=f"req_{prefix}_{next(numbers)}", t_ms=backend.clock.now_ms()))
        response = await _answer(request, handler)
        trace.finish(response)
        return response

    return boundary


async def _add_request_id(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["x-request-id"] = trace_of(request).request_id


def create_app(backend: Backend) -> web.Application:
    """The application of one server."""

    def authenticated(operation: Operation) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            trace = trace_of(request)
            trace.org = org = backend.authenticate(request.headers.get("Authorization"))
            trace.operation, trace.method, trace.path = operation.name, request.method, request.path
            vm = org.find(request.match_info.get("vm_id", ""))
            if vm is not None:
                trace.note_vm(vm)
            if backend.closing:
                raise ServiceError("unavailable", "the server is ending")
            return await operation.handler(backend, org, request)

        return handle

    def presigned(operation: Callable[[Backend, web.Request], Awaitable[web.StreamResponse]]) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await operation(backend, request)

        return handle

    async def describe(request: web.Request) -> web.StreamResponse:
        return web.Response(body=openapi.encoded(backend.origin + API), content_type="application/json")

    app = web.Application(middlewares=[_boundary(backend)], client_max_size=MAX_BODY)
    app.on_response_prepare.append(_add_request_id)
    for operation in OPERATIONS:
        app.router.add_route(operation.method, API + operation.pattern, authenticated(operation))
    app.router.add_route("GET", API + openapi.PATH, describe)
    for method, path, handler in control.routes(backend):
        app.router.add_route(method, API + path, handler)
    app.router.add_route("PUT", f"{PREFIX}/{{vm_id}}", presigned(transfers.put_file))
    app.router.add_route("GET", f"{PREFIX}/{{vm_id}}", presigned(transfers.get_file))
    return app


__all__ = ["API", "create_app"]
