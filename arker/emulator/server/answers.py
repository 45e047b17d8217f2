"""The conversion of every failure to an error body (contract, section 3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import orjson
from aiohttp import web

from arker.emulator.server.backend import Backend, logger
from arker.emulator.server.errors import ServiceError, from_lack, missing
from arker.emulator.server.journal.trace import trace_of

MAX_BODY: Final = 32 * 1024 * 1024
"""Bytes of a JSON body; the largest that is of use is a write of 8 MiB in base64, or a command of some megabytes."""

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def error_response(backend: Backend, request: web.Request, error: ServiceError) -> web.Response:
    """Return the reply for an error, in the form of the server's generation."""
    trace = trace_of(request)
    return error_reply(
        backend, error, operation_id=trace.operation_id, method=request.method, request_id=trace.request_id
    )


def error_reply(
    backend: Backend, error: ServiceError, *, operation_id: str | None, method: str, request_id: str
) -> web.Response:
    """Return the reply for an error of a request that may have no trace."""
    generation = backend.generation
    body = generation.error_body(
        error, operation_id=operation_id, method=method, request_id=request_id, now_ms=backend.clock.now_ms()
    )
    return web.Response(
        body=orjson.dumps(body),
        status=generation.status(error),
        headers=generation.headers(error),
        content_type="application/json",
    )


async def answer(backend: Backend, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return the handler's reply, or an error. The query is never logged: it may hold a signature."""

    def refused(error: ServiceError) -> web.Response:
        return error_response(backend, request, error)

    try:
        return await handler(request)
    except ServiceError as error:
        return refused(error)
    except web.HTTPRequestEntityTooLarge:
        limit = {"maximum_bytes": MAX_BODY}
        return refused(ServiceError("payload_too_large", f"a body has at most {MAX_BODY} bytes", details=limit))
    except web.HTTPMethodNotAllowed as error:
        allowed = {"allowed_methods": sorted(error.allowed_methods)}
        message = f"there is no operation {request.method} of this path"
        return refused(ServiceError("method_not_allowed", message, details=allowed))
    except web.HTTPException as error:
        if error.status == 404:
            return refused(missing("route", f"there is no operation {request.method} of this path"))
        return refused(ServiceError("bad_request", error.reason, status=error.status))
    except web.RequestPayloadError:
        return refused(ServiceError("bad_request", "the body did not arrive whole"))
    except ConnectionError:
        # The client has gone, or only the end of the connection can tell it. The returned response is not sent.
        if request.transport is not None:
            request.transport.close()
        return web.Response(status=500)
    except Exception as error:
        lack = from_lack(error)
        if lack is not None:
            logger.warning("%s %s failed: %s", request.method, request.path, lack)
            return refused(lack)
        logger.exception("%s %s failed", request.method, request.path)
        return refused(ServiceError("internal", "the server failed; its log says why"))


__all__ = ["MAX_BODY", "Handler", "answer", "error_reply", "error_response"]
