"""The aiohttp application: routes, tokens, request ids and error bodies (contract, sections 3 and 5)."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from arker.emulator.server import control, openapi
from arker.emulator.server.answers import MAX_BODY, Handler, answer
from arker.emulator.server.backend import Backend
from arker.emulator.server.errors import ServiceError
from arker.emulator.server.fault_actions import Misbehaviour
from arker.emulator.server.fault_matching import Facts
from arker.emulator.server.journal.trace import Trace, attach, trace_of
from arker.emulator.server.operation import Operation, PublicOperation
from arker.emulator.server.operations import transfers
from arker.emulator.server.presign import PREFIX
from arker.emulator.server.records import Organisation
from arker.emulator.server.routes import served
from arker.emulator.server.streams import gone

API: Final = "/api"
_BELOW: Final = f"{API}/"
_CONTROL: Final = f"{API}/emulator/"
"""The prefix of the endpoints outside the contract. Faults and the journal do not apply to them."""


class _Boundary:
    """The outermost layer: it numbers each request, always answers it, and notes the outcome."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._prefix, self._numbers = secrets.token_hex(6), itertools.count(1)
        self.operations: dict[object, tuple[str, str | None]] = {}
        """The operations' names, and those in generation 1, by their handlers in the router."""

    def middleware(self) -> Middleware:
        @web.middleware
        async def boundary(request: web.Request, handler: Handler) -> web.StreamResponse:
            t_ms = self._backend.clock.now_ms()
            trace = attach(request, Trace(request_id=f"req_{self._prefix}_{next(self._numbers)}", t_ms=t_ms))
            path = request.rel_url.raw_path
            if path.startswith(_CONTROL):
                return await answer(self._backend, request, handler)
            return await self._serve(request, trace, handler, path)

        return boundary

    async def _serve(self, request: web.Request, trace: Trace, handler: Handler, path: str) -> web.StreamResponse:
        backend, journal = self._backend, self._backend.journal
        trace.operation, trace.operation_id = self.operations.get(request.match_info.handler, ("", None))
        trace.method, trace.path = request.method, request.path
        facts = Facts(
            operation=trace.operation,
            method=request.method,
            path=path.removeprefix(API) if path.startswith(_BELOW) else path,
        )
        firing = backend.faults.fire(facts) if backend.faults else None
        if firing is not None:
            # The handler sets a better value, if it is reached.
            vm = backend.find_anywhere(request.match_info.get("vm_id", ""))
            run = None if vm is None else vm.runs.get(request.match_info.get("run_id", ""))
            trace.vm_id = None if vm is None else vm.vm_id
            trace.run_id = None if run is None else run.run_id

        def settle(status: int) -> None:
            key = request.headers.get("Idempotency-Key")
            journal.note_request(trace, facts, status=status, key=key, firing=firing)

        if firing is None:
            response = await answer(backend, request, handler)
            trace.finish(response)
        else:
            response = await Misbehaviour(backend, request, trace, firing, handler, settle).respond()
        # A WebSocket was answered when it began; it is over now.
        settle(0 if gone(request) and response.status != 101 else response.status)
        return response


def _organisation(backend: Backend, request: web.Request, ticket: str | None) -> Organisation:
    """Return the organisation that a request is of, by its API key or by its ticket."""
    if ticket is None:
        return backend.authenticate(request.headers.get("Authorization"))
    granted = backend.tickets.check(ticket)
    org = backend.organisations[granted.org_id]
    vm = org.find(request.match_info["vm_id"])
    if vm is not None and (granted.vm_id, granted.session_id) != (vm.vm_id, request.match_info["session_id"]):
        raise ServiceError("forbidden", "ticket: it is for another session")
    return org


async def _add_request_id(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["x-request-id"] = trace_of(request).request_id


def create_app(backend: Backend) -> web.Application:
    """Create the application of one server."""

    def authenticated(operation: Operation) -> Handler:
        known = operation.queries(backend.generation)

        async def handle(request: web.Request) -> web.StreamResponse:
            trace = trace_of(request)
            ticket = request.query.get("ticket") if operation.socket else None
            trace.org = org = _organisation(backend, request, ticket)
            vm = org.find(request.match_info.get("vm_id", ""))
            if vm is not None:
                trace.note_vm(vm)
            if backend.closing:
                raise ServiceError("unavailable", "the server is ending")
            trace.processed = True
            if known:
                backend.generation.check_query(request.query, known)
            return await operation.handler(backend, org, request)

        return handle

    def public(operation: PublicOperation) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            trace_of(request).processed = True
            return await operation.handler(backend, request)

        return handle

    def presigned(operation: Callable[[Backend, web.Request], Awaitable[web.StreamResponse]]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            trace = trace_of(request)
            trace.vm_id, trace.processed = request.match_info["vm_id"], True
            return await operation(backend, request)

        return handle

    def controlled(operation: control.Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            control.authorise(backend, request)
            return await operation(backend, request)

        return handle

    async def describe(_: web.Request) -> web.StreamResponse:
        body = openapi.encoded(backend.origin + API, backend.options.generation)
        return web.Response(body=body, content_type="application/json")

    boundary = _Boundary(backend)
    app = web.Application(middlewares=[boundary.middleware()], client_max_size=MAX_BODY)
    app.on_response_prepare.append(_add_request_id)

    def add(name: str, method: str, path: str, handler: Handler, operation_id: str | None = None) -> None:
        app.router.add_route(method, path, handler)
        boundary.operations[handler] = name, operation_id

    for operation in served(backend.generation):
        handler = public(operation) if isinstance(operation, PublicOperation) else authenticated(operation)
        add(operation.name, operation.method, API + operation.pattern, handler, operation.id)
    add("openapi", "GET", API + openapi.PATH, describe)
    add("presigned_put", "PUT", f"{PREFIX}/{{vm_id}}", presigned(transfers.put_file))
    add("presigned_get", "GET", f"{PREFIX}/{{vm_id}}", presigned(transfers.get_file))
    for entry in control.TABLE:
        app.router.add_route(entry.method, f"{_CONTROL}{entry.path}", controlled(entry.handler))
    return app


__all__ = ["API", "create_app"]
