"""The conversion of every failure to an error body (contract, section 3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import orjson
from aiohttp import web

from arker.emulator.server.backend import logger
from arker.emulator.server.errors import ServiceError, from_lack

MAX_BODY: Final = 32 * 1024 * 1024
"""Bytes of a JSON body; the largest that is of use is a write of 8 MiB in base64, or a command of some megabytes."""

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def error_response(error: ServiceError) -> web.Response:
    return web.Response(
        body=orjson.dumps(error.body()), status=error.status, headers=error.headers, content_type="application/json"
    )


async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return the handler's reply, or an error. The query is never logged: it may hold a signature."""
    try:
        return await handler(request)
    except ServiceError as error:
        return error_response(error)
    except web.HTTPRequestEntityTooLarge:
        return error_response(ServiceError("payload_too_large", f"a body has at most {MAX_BODY} bytes"))
    except web.HTTPException as error:
        if error.status in {404, 405}:
            return error_response(ServiceError("not_found", f"there is no operation {request.method} of this path"))
        return error_response(ServiceError("bad_request", error.reason, status=error.status))
    except web.RequestPayloadError:
        return error_response(ServiceError("bad_request", "the body did not arrive whole"))
    except ConnectionError:
        # The client has gone, or only the end of the connection can tell it. The returned response is not sent.
        if request.transport is not None:
            request.transport.close()
        return web.Response(status=500)
    except Exception as error:
        lacking = from_lack(error)
        if lacking is not None:
            logger.warning("%s %s failed: %s", request.method, request.path, lacking)
            return error_response(lacking)
        logger.exception("%s %s failed", request.method, request.path)
        return error_response(ServiceError("internal", "the server failed; its log says why"))


__all__ = ["MAX_BODY", "Handler", "answer", "error_response"]
