"""The server's connections: what is no request to the application is answered by an error of the contract as well.

aiohttp answers what it cannot read by a text of its own, before any middleware, with a part of what was sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from aiohttp import web

from arker.emulator.server.answers import error_reply
from arker.emulator.server.backend import Backend
from arker.emulator.server.errors import ServiceError

_Handle: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_MALFORMED: Final = {
    "BadHttpMethod": "the method is none of HTTP",
    "BadStatusLine": "the request's first line is malformed",
    "ContentLengthError": "Content-Length: expected the body's size",
    "InvalidHeader": "a header field is malformed",
    "InvalidURLError": "the URL is malformed",
    "LineTooLong": "the request's first line or a header field is too long",
    "TransferEncodingError": "the body's chunks are malformed",
}
"""What is wrong, by the library's exceptions. Their own messages quote the request, of which any part may be secret."""
_OTHERS: Final = {500: "internal", 504: "gateway_timeout"}


class _Connection(web.RequestHandler):
    def __init__(self, manager: web.Server, backend: Backend, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._backend = backend

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        # It writes to the log, and raises an exception if a part of an answer has been sent.
        super().handle_error(request, status, exc, message)
        code = _OTHERS.get(status, "bad_request")
        failed = "the server failed; its log says why"
        why = _MALFORMED.get(type(exc).__name__, "the request is malformed") if code == "bad_request" else failed
        answer = _refused(self._backend, request, ServiceError(code, why))
        answer.force_close()
        return answer


class Connections(web.Server):
    """The maker of the connections of an application.

    Args:
        backend: The records of the server.
        inner: What passes requests to the application, as `aiohttp.web.AppRunner` makes it.
        settings: Those of `aiohttp.web.Server`.
    """

    def __init__(self, backend: Backend, inner: web.Server, loop: Any, **settings: Any) -> None:
        super().__init__(_expecting(backend, inner.request_handler), request_factory=inner.request_factory, loop=loop)
        self._backend = backend
        self._settings = {"loop": loop, **settings}

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._backend, **self._settings)


def _expecting(backend: Backend, handle: _Handle) -> _Handle:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        expected = request.headers.getall("Expect", ())
        if any(each.lower() != "100-continue" for each in expected):
            error = ServiceError("bad_request", "Expect: expected 100-continue, or no such header field", status=417)
            return _refused(backend, request, error)
        return await handle(request)

    return handler


def _refused(backend: Backend, request: web.BaseRequest, error: ServiceError) -> web.Response:
    request_id = f"req_{secrets.token_hex(8)}"
    answer = error_reply(backend, error, operation_id=None, method=request.method, request_id=request_id)
    answer.headers["x-request-id"] = request_id
    return answer


__all__ = ["Connections"]
