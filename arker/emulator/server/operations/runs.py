"""The operations on runs: run, list, get, cancel (contract, section 5)."""

from __future__ import annotations

import signal
from typing import Any

from aiohttp import web
from attrs import frozen

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.server import parsing, replies
from arker.emulator.server.backend import Backend
from arker.emulator.server.errors import ServiceError, from_sandbox, invalid
from arker.emulator.server.idempotency import Entry, Scope, fingerprint
from arker.emulator.server.journal.trace import trace_of
from arker.emulator.server.operations import execution, tunnels
from arker.emulator.server.operations.sessions import find_session
from arker.emulator.server.records import Organisation, RunRecord, SessionRecord, VmRecord

_STATES = ("running", "completed", "failed", "cancelled")
_RESOURCES = frozenset(("cpu", "memory", "disk"))
_ACKNOWLEDGED = object()
_MAX_PORTS = 64


@frozen(kw_only=True)
class _Wish:
    command: str
    session_id: str | None
    session_idx: int
    background: bool
    timeout: float | None
    vcpu_count: int | None
    memory_mib: int | None
    disk_mib: int | None
    acquire: str | None
    release: str | None
    signal: signal.Signals | None
    inbound: tuple[tunnels.Wish, ...]


def _resources(fields: parsing.Fields, key: str) -> str | None:
    text = fields.text(key)
    if text is not None and not {part.strip() for part in text.split(",")} <= _RESOURCES:
        raise invalid(fields.name(key), "one or more of cpu, memory, disk, joined by commas")
    return text


def _signal(fields: parsing.Fields) -> signal.Signals | None:
    text = fields.text("signal")
    if text is None:
        return None
    name = text.strip().upper()
    try:
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except KeyError:
        raise invalid("signal", "the name of a signal, such as INT or SIGTERM") from None


def _inbound(fields: parsing.Fields) -> tuple[tunnels.Wish, ...]:
    """Parse the tunnels that a run asks for."""
    network = fields.object("network")
    inbound = None if network is None else network.object("inbound")
    ports = None if inbound is None else inbound.object("ports")
    wishes: list[tunnels.Wish] = []
    if ports is None:
        return ()
    if len(ports.items()) > _MAX_PORTS:
        raise invalid(ports.name("")[:-1], f"at most {_MAX_PORTS} ports")
    for number, wanted in ports.items():
        if not number.isascii() or not number.isdigit() or not 1 <= int(number[:6]) <= 65535:
            raise invalid(ports.name(number), "a port number from 1 to 65535 as the key")
        if not isinstance(wanted, dict):
            raise invalid(ports.name(number), "an object")
        port = parsing.Fields(wanted, f"{ports.name(number)}.")  # pyright: ignore[reportUnknownArgumentType]
        visibility = port.text("visibility")
        if visibility not in {None, "private", "public"}:
            raise invalid(port.name("visibility"), "private or public")
        if port.text("protocol") not in {None, "http"}:
            raise invalid(port.name("protocol"), "http")
        wishes.append(tunnels.Wish(port=int(number), authenticated=visibility != "public"))
    return tuple(wishes)


def _parse(body: dict[str, Any]) -> _Wish:
    fields = parsing.Fields(body)
    command = fields.raw("command")
    if not isinstance(command, str) or "\0" in command:
        raise invalid("command", "a string without NUL")
    number = _signal(fields)
    acquire, release = _resources(fields, "acquire"), _resources(fields, "release")
    if not command.strip() and number is None and acquire is None and release is None:
        raise invalid("command", "a command that is not blank")
    fields.text("end_symbol")
    vcpu_count, memory_mib, disk_mib = parsing.sizes(fields)
    return _Wish(
        command=command,
        session_id=fields.text("session_id"),
        session_idx=fields.integer("session_idx", minimum=0) or 0,
        background=fields.boolean("background") or False,
        timeout=fields.seconds("timeout"),
        vcpu_count=vcpu_count,
        memory_mib=memory_mib,
        disk_mib=disk_mib,
        acquire=acquire,
        release=release,
        signal=number,
        inbound=_inbound(fields),
    )


def _session(vm: VmRecord, wish: _Wish) -> SessionRecord:
    if wish.session_id is not None:
        return find_session(vm, wish.session_id)
    for session in vm.sessions.values():
        if session.index == wish.session_idx:
            return session
    raise ServiceError("not_found", f"session_idx: there is no session with the number {wish.session_idx}")


async def _send_signal(session: SessionRecord, number: signal.Signals) -> None:
    run = session.current
    if run is not None:
        await run.started.wait()
    if run is None or run.handle is None:
        raise ServiceError("conflict", "signal: the session is running nothing that a signal could be sent to")
    try:
        await run.handle.signal(number)
    except SandboxError as error:
        raise from_sandbox(error) from None


async def start_run(backend: Backend, org: Organisation, request: web.Request) -> web.StreamResponse:
    key = parsing.idempotency_key(request)
    body = await parsing.read_object(request)
    scope: Scope | None = None
    digest = b""
    if key is not None:
        scope = (org.org_id, "POST", request.rel_url.raw_path, key)
        digest = fingerprint(body)
        known = backend.ledger.find(scope, digest)
        if known is not None:
            return await _reply(request, await known.outcome(), background=body.get("background") is True)
    wish = _parse(body)
    vm = backend.vm(org, request.match_info["vm_id"])
    session = _session(vm, wish)
    if wish.signal is not None or not wish.command.strip():
        return await _acknowledge(backend, session, wish, scope, digest)
    vm.vcpu_count = wish.vcpu_count or vm.vcpu_count
    vm.memory_mib = wish.memory_mib or vm.memory_mib
    vm.disk_mib = wish.disk_mib or vm.disk_mib
    opened = tunnels.open_all(backend, vm, wish.inbound)
    run = execution.accept(
        backend,
        vm,
        session,
        command=wish.command,
        timeout=wish.timeout,
        key=key,
        acquire=wish.acquire,
        release=wish.release,
    )
    tunnels.tie(backend, run, opened)
    if scope is not None:
        entry = backend.ledger.open(scope, digest, f"run {run.run_id}")
        backend.ledger.settle(entry, run)
        backend.spawn(_complete(backend, scope, entry, run))
    return await _reply(request, run, background=wish.background)


async def _complete(backend: Backend, scope: Scope, entry: Entry, run: RunRecord) -> None:
    await run.done.wait()
    backend.ledger.complete(scope, entry)


async def _acknowledge(
    backend: Backend, session: SessionRecord, wish: _Wish, scope: Scope | None, digest: bytes
) -> web.Response:
    """Acknowledge an operation that starts no command. With a key it takes effect only once, too."""
    entry = None if scope is None else backend.ledger.open(scope, digest, "an operation without a run")
    try:
        if wish.signal is not None:
            await _send_signal(session, wish.signal)
    except ServiceError as error:
        if scope is not None and entry is not None:
            backend.ledger.refuse(scope, entry, error)
        raise
    if scope is not None and entry is not None:
        backend.ledger.settle(entry, _ACKNOWLEDGED)
        backend.ledger.complete(scope, entry)
    return replies.json_response(replies.acknowledgement_json())


async def _reply(request: web.Request, outcome: Any, *, background: bool) -> web.StreamResponse:
    if not isinstance(outcome, RunRecord):
        return replies.json_response(replies.acknowledgement_json())
    trace_of(request).note_run(outcome)
    if background:
        return replies.json_response(replies.background_json(outcome))
    with execution.reading(outcome):
        await outcome.done.wait()
        trace_of(request).note_run(outcome)
        return await replies.completed_response(request, outcome)


def _run(backend: Backend, org: Organisation, request: web.Request) -> RunRecord:
    vm = backend.vm(org, request.match_info["vm_id"])
    run = vm.runs.get(request.match_info["run_id"])
    if run is None:
        raise ServiceError("not_found", f"there is no run {request.match_info['run_id']!r}")
    trace_of(request).note_run(run)
    return run


async def get_run(backend: Backend, org: Organisation, request: web.Request) -> web.StreamResponse:
    run = _run(backend, org, request)
    with execution.reading(run):
        return await replies.run_response(request, run)


async def cancel_run(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    """Cancel a run. A run that has already ended is not an error: the reply is ``cancelled: false``."""
    run = _run(backend, org, request)
    if run.done.is_set():
        return replies.json_response({"cancelled": False})
    await execution.stop(backend, run, "cancelled")
    return replies.json_response({"cancelled": run.state == "cancelled"})


async def list_runs(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    vm = backend.vm(org, request.match_info["vm_id"])
    query = request.query
    states = parsing.query_choices(query, "state", _STATES)
    started_after = parsing.query_instant(query, "started_after")
    started_before = parsing.query_instant(query, "started_before")
    completed_after = parsing.query_instant(query, "completed_after")

    def wanted(run: RunRecord) -> bool:
        return (
            (states is None or run.state in states)
            and (started_after is None or run.started_ms > started_after)
            and (started_before is None or run.started_ms < started_before)
            and (completed_after is None or (run.completed_ms is not None and run.completed_ms > completed_after))
        )

    runs, cursor = backend.cursors.page(
        f"runs {vm.vm_id}",
        reversed(vm.runs.values()),
        cursor=query.get("cursor"),
        limit=parsing.query_limit(query),
        wanted=wanted,
    )
    body: dict[str, Any] = {"runs": [replies.run_summary_json(run) for run in runs]}
    if cursor is not None:
        body["next_cursor"] = cursor
    return replies.json_response(body)


__all__ = ["cancel_run", "get_run", "list_runs", "start_run"]
