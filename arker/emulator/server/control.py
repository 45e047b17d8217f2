"""The control endpoints, below ``/emulator/``, for tests in any process and language.

They are no part of the contract, nor of the OpenAPI document; only the backend's own API key opens them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from aiohttp import web
from attrs import frozen

from arker.emulator.control.clock import rfc3339
from arker.emulator.control.entries import entry_json
from arker.emulator.control.rules import rule_from_json, rule_json
from arker.emulator.options import LOCAL_ORG_ID
from arker.emulator.server import parsing
from arker.emulator.server.backend import Backend
from arker.emulator.server.errors import ServiceError, invalid
from arker.emulator.server.fault_matching import ActiveFault
from arker.emulator.server.journal.journal import Log
from arker.emulator.server.replies import json_response
from arker.emulator.server.reset import reset
from arker.errors import InvalidArgumentError

Handler: TypeAlias = Callable[[Backend, web.Request], Awaitable[web.StreamResponse]]

PAGE: Final = 1000
"""Entries of a journal in one reply, at most."""
SHIFT_MAXIMUM: Final = 10_000_000_000
"""Seconds (some 316 years) that the clock may be ahead."""


@frozen
class Entry:
    """An endpoint.

    Attributes:
        method: HTTP method.
        path: Below ``/emulator/``.
        handler: Answers it; the caller is known to be allowed.
    """

    method: str
    path: str
    handler: Handler


def authorise(backend: Backend, request: web.Request) -> None:
    """Check the API key: 401 without a valid one, 403 with another organisation's, 503 at the server's end."""
    org = backend.authenticate(request.headers.get("Authorization"))
    if org.org_id != LOCAL_ORG_ID:
        raise ServiceError("forbidden", "the backend is controlled with its own API key only")
    if backend.closing:
        raise ServiceError("unavailable", "the server is ending")


def _fault_json(fault: ActiveFault) -> dict[str, Any]:
    return {"fault_id": fault.fault_id, "seen": fault.seen, "fired": fault.fired, **rule_json(fault.rule)}


async def add_fault(backend: Backend, request: web.Request) -> web.StreamResponse:
    members = await parsing.read_object(request)
    try:
        rule = rule_from_json(members)
    except InvalidArgumentError as error:
        raise ServiceError("bad_request", f"{error.argument}: {error.expected}") from None
    return json_response(_fault_json(backend.faults.add(rule)))


async def list_faults(backend: Backend, _: web.Request) -> web.StreamResponse:
    return json_response({"faults": [_fault_json(fault) for fault in backend.faults]})


async def get_fault(backend: Backend, request: web.Request) -> web.StreamResponse:
    return json_response(_fault_json(backend.faults.find(request.match_info["fault_id"])))


async def delete_fault(backend: Backend, request: web.Request) -> web.StreamResponse:
    """Delete a fault. Returns its last state."""
    return json_response(_fault_json(backend.faults.remove(request.match_info["fault_id"])))


async def delete_faults(backend: Backend, _: web.Request) -> web.StreamResponse:
    return json_response({"removed": backend.faults.clear()})


def _number(query: Mapping[str, str], name: str, default: int, *, minimum: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,15}", text) or int(text) < minimum:
        raise invalid(name, f"an integer of at least {minimum}")
    return int(text)


def _page(name: str, log: Log[Any], request: web.Request) -> web.StreamResponse:
    after = _number(request.query, "after", 0, minimum=0)
    limit = min(_number(request.query, "limit", PAGE, minimum=1), PAGE)
    entries = [entry_json(entry) for entry in log.after(after, limit)]
    return json_response({name: entries, "last": log.last, "dropped": log.dropped(after)})


async def list_requests(backend: Backend, request: web.Request) -> web.StreamResponse:
    return _page("requests", backend.journal.requests, request)


async def list_executions(backend: Backend, request: web.Request) -> web.StreamResponse:
    return _page("executions", backend.journal.executions, request)


async def list_forks(backend: Backend, request: web.Request) -> web.StreamResponse:
    return _page("forks", backend.journal.forks, request)


async def clear_journal(backend: Backend, _: web.Request) -> web.StreamResponse:
    return json_response({"removed": backend.journal.clear()})


def _clock_json(backend: Backend) -> dict[str, Any]:
    return {"now": rfc3339(backend.clock.now_ms()), "shift": backend.clock.shifted}


async def get_clock(backend: Backend, _: web.Request) -> web.StreamResponse:
    return json_response(_clock_json(backend))


async def shift_clock(backend: Backend, request: web.Request) -> web.StreamResponse:
    seconds = (await parsing.read_object(request)).get("shift")
    most = SHIFT_MAXIMUM - backend.clock.shifted
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= most:
        raise invalid("shift", f"seconds from 0 to {most:g}: the clock only moves forward")
    backend.clock.shift(seconds)
    return json_response(_clock_json(backend))


async def reset_server(backend: Backend, _: web.Request) -> web.StreamResponse:
    removed = await reset(backend)
    return json_response({"vms": removed.vms, "filesystems": removed.filesystems})


TABLE: Final[tuple[Entry, ...]] = (
    Entry("POST", "faults", add_fault),
    Entry("GET", "faults", list_faults),
    Entry("DELETE", "faults", delete_faults),
    Entry("GET", "faults/{fault_id}", get_fault),
    Entry("DELETE", "faults/{fault_id}", delete_fault),
    Entry("GET", "requests", list_requests),
    Entry("GET", "executions", list_executions),
    Entry("GET", "forks", list_forks),
    Entry("DELETE", "journal", clear_journal),
    Entry("GET", "clock", get_clock),
    Entry("POST", "clock", shift_clock),
    Entry("POST", "reset", reset_server),
)


__all__ = ["TABLE", "Entry", "Handler", "authorise"]
