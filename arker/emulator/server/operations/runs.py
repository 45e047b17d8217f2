"""The operations on runs: run, list, get, cancel (contract, section 5)."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from aiohttp import web
from attrs import frozen

from arker.emulator.options import WINDOW_MAXIMUM
from arker.emulator.sandbox.base import SandboxError
from arker.emulator.server import parsing, replies
from arker.emulator.server.backend import Backend
from arker.emulator.server.errors import ServiceError, from_sandbox, invalid, missing
from arker.emulator.server.idempotency import NOTHING, Entry, Scope, fingerprint
from arker.emulator.server.journal.trace import trace_of
from arker.emulator.server.keeper import Key
from arker.emulator.server.operations import execution, policies, terminals, tunnels
from arker.emulator.server.operations.sessions import add_session
from arker.emulator.server.records import Organisation, RunRecord, SessionRecord, VmRecord

_RESOURCES = frozenset(("cpu", "memory", "disk"))
_MAX_PORTS = 64
_ENDING = frozenset((signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGABRT, signal.SIGKILL))
"""Signals that callers send to end a command; by the others programs are told to reload, for instance."""


@frozen(kw_only=True)
class _Wish:
    command: str
    session_id: str | None
    session_idx: int
    background: bool
    window: float | None
    """Seconds that the request waits for the run; None: until it is over."""
    timeout: float | None
    patience: int
    sizes: parsing.Sizes
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
    name, allowed = text.strip().upper(), fields.generation.signals
    if allowed is not None and text not in allowed:
        raise invalid("signal", f"one of {', '.join(sorted(allowed))}")
    try:
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except KeyError:
        raise invalid("signal", "the name of a signal, such as INT or SIGTERM") from None


def _inbound(fields: parsing.Fields) -> tuple[tunnels.Wish, ...]:
    """Parse the tunnels that a run asks for."""
    network = fields.object("network", "NetworkRequest")
    inbound = None if network is None else network.object("inbound", "InboundRequest")
    ports = None if inbound is None else inbound.map("ports")
    wishes: list[tunnels.Wish] = []
    if inbound is None or ports is None:
        return ()
    where = inbound.name("ports")
    if len(ports) > _MAX_PORTS:
        raise invalid(where, f"at most {_MAX_PORTS} ports")
    for number, wanted in ports.items():
        if not number.isascii() or not number.isdigit() or not 1 <= int(number[:6]) <= 65535:
            raise invalid(f"{where}.{number}", "a port number from 1 to 65535 as the key")
        if not isinstance(wanted, dict):
            raise invalid(f"{where}.{number}", "an object")
        port = inbound.inside(wanted, "InboundPortRequest", f"{where}.{number}")  # pyright: ignore[reportUnknownArgumentType]
        visibility = port.text("visibility")
        if visibility not in {None, "private", "public"}:
            raise invalid(port.name("visibility"), "private or public")
        if port.text("protocol") not in {None, "http"}:
            raise invalid(port.name("protocol"), "http")
        wishes.append(tunnels.Wish(port=int(number), authenticated=visibility != "public"))
    return tuple(wishes)


def _command(fields: parsing.Fields, *, without: bool) -> str:
    """Return the command. An action beside it, or nothing at all in generation 1, needs none."""
    command = fields.raw("command")
    if command is None and fields.generation.new and not fields.has("command"):
        return ""
    if not isinstance(command, str) or "\0" in command:
        raise invalid("command", "a string without NUL")
    if not command.strip() and not without:
        raise invalid("command", "a command that is not blank")
    return command


def _timeout(fields: parsing.Fields) -> float | None:
    if fields.generation.whole_seconds:
        return fields.integer("timeout", minimum=0) or None
    if fields.generation.new and fields.raw("timeout") == 0 and fields.raw("timeout") is not False:
        return None
    return fields.seconds("timeout")


def _parse(fields: parsing.Fields) -> _Wish:
    number = _signal(fields)
    acquire, release = _resources(fields, "acquire"), _resources(fields, "release")
    command = _command(fields, without=(number, acquire, release) != (None, None, None))
    fields.text("end_symbol")
    background = fields.boolean("background")
    wait = fields.integer("time_to_background", minimum=0, maximum=int(WINDOW_MAXIMUM))
    if wait is not None and background is not None:
        raise invalid("time_to_background, background", "one of them")
    if wait is not None and number is not None:
        raise invalid("time_to_background", "no time with a signal")
    policies.refuse_for_runs(fields)
    return _Wish(
        command=command,
        session_id=fields.text("session_id"),
        session_idx=fields.integer("session_idx", minimum=0, maximum=2**32 - 1) or 0,
        background=background or wait == 0,
        window=fields.generation.foreground(wait),
        timeout=_timeout(fields),
        patience=fields.integer("queueing_timeout", minimum=0) or 0,
        sizes=parsing.sizes(fields),
        acquire=acquire,
        release=release,
        signal=number,
        inbound=_inbound(fields),
    )


def _session(backend: Backend, vm: VmRecord, wish: _Wish) -> SessionRecord:
    if wish.session_id is not None:
        return backend.session(vm, wish.session_id)
    for session in vm.sessions.values():
        if session.index == wish.session_idx:
            return session
    if wish.signal is None and backend.generation.new:
        return add_session(backend, vm, index=wish.session_idx)
    raise missing("session", f"session_idx: there is no session with the number {wish.session_idx}")


async def _send_signal(backend: Backend, session: SessionRecord, number: signal.Signals) -> None:
    run = session.current
    if run is not None:
        await run.started.wait()
    if run is None or run.handle is None:
        message = "signal: the session is running nothing that a signal could be sent to"
        raise backend.generation.nothing_to_signal(message)
    before = run.signalled
    if number in _ENDING:
        run.signalled = number.name
        backend.keeper.stop_run(run)
    try:
        await run.handle.signal(number)
    except SandboxError as error:
        if number in _ENDING:
            run.signalled = before
            backend.keeper.stop_run(run)
        raise from_sandbox(error) from None


def _fields(backend: Backend, body: dict[str, Any]) -> parsing.Fields:
    return parsing.body_of(backend, "RunRequest", body)


async def start_run(backend: Backend, org: Organisation, request: web.Request) -> web.StreamResponse:
    key = parsing.idempotency_key(backend, request)
    body = await parsing.read_object(request, backend.generation.longest_run)
    scope: Scope | None = None
    digest = b""
    if key is not None:
        scope = (org.org_id, "POST", request.rel_url.raw_path, key)
        digest = fingerprint(body)
        known = backend.ledger.find(scope, digest, "idempotency_conflict")
        if known is not None:
            return await _reply(backend, request, await known.outcome(), _parse(_fields(backend, body)))
    wish = _parse(_fields(backend, body))
    vm = backend.usable_vm(org, request.match_info["vm_id"])
    session = _session(backend, vm, wish)
    if wish.signal is not None or not wish.command.strip():
        return await _acknowledge(backend, session, wish, scope, digest)
    terminals.require_none(session)
    opened = tunnels.open_all(backend, vm, wish.inbound)
    before = vm.vcpu_count, vm.memory_mib, vm.disk_mib
    vm.resize(wish.sizes.vcpu_count, wish.sizes.memory_mib, wish.sizes.disk_mib)
    entry = None if scope is None else Entry(digest=digest, subject="")
    try:
        run = execution.accept(
            backend,
            vm,
            session,
            command=wish.command,
            timeout=wish.timeout,
            key=key,
            acquire=wish.acquire,
            release=wish.release,
            patience=wish.patience,
            entry=Key.of(scope, entry),
        )
    except Exception:  # a run that is not on record has had no effect
        vm.resize(*before)
        tunnels.forget_all(opened)
        raise
    tunnels.tie(backend, run, opened)
    if scope is not None and entry is not None:
        backend.ledger.enter(scope, entry)
        backend.ledger.settle(entry, run)
        backend.spawn(backend.ledger.complete_after(scope, entry, run.done))
    return await _reply(backend, request, run, wish)


async def _acknowledge(
    backend: Backend, session: SessionRecord, wish: _Wish, scope: Scope | None, digest: bytes
) -> web.Response:
    """Acknowledge an operation that starts no command. With a key it takes effect only once, too."""
    entry = None if scope is None else backend.ledger.open(scope, digest, "an operation without a run")
    try:
        if wish.signal is not None:
            await _send_signal(backend, session, wish.signal)
    except ServiceError as error:
        if scope is not None and entry is not None:
            backend.ledger.refuse(scope, entry, error)
        raise
    if scope is not None and entry is not None:
        backend.ledger.settle(entry, NOTHING)
        backend.ledger.complete(scope, entry)
        backend.keeper.acknowledge(Key(scope, entry))
    return replies.json_response(replies.acknowledgement_json())


async def _reply(backend: Backend, request: web.Request, outcome: Any, wish: _Wish) -> web.StreamResponse:
    if not isinstance(outcome, RunRecord):
        return replies.json_response(replies.acknowledgement_json())
    speaks = backend.generation
    trace_of(request).note_run(outcome)
    if wish.background:
        return replies.background_response(speaks, outcome)
    with execution.reading(outcome):
        try:
            await asyncio.wait_for(outcome.done.wait(), wish.window)
        except asyncio.TimeoutError:
            return replies.background_response(speaks, outcome)
        trace_of(request).note_run(outcome)
        return await replies.completed_response(speaks, request, outcome)


def _run(backend: Backend, org: Organisation, request: web.Request) -> RunRecord:
    vm = backend.vm(org, request.match_info["vm_id"])
    run = vm.runs.get(request.match_info["run_id"])
    if run is None:
        raise missing("run", f"there is no run {request.match_info['run_id']!r}")
    trace_of(request).note_run(run)
    return run


async def get_run(backend: Backend, org: Organisation, request: web.Request) -> web.StreamResponse:
    run = _run(backend, org, request)
    with execution.reading(run):
        return await replies.run_response(backend.generation, request, run)


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
    states = parsing.query_choices(query, "state", backend.generation.states_of_runs)
    started_after = parsing.query_instant(query, "started_after")
    started_before = parsing.query_instant(query, "started_before")
    completed_after = parsing.query_instant(query, "completed_after")

    def wanted(run: RunRecord) -> bool:
        return (
            (states is None or backend.generation.working(run.state) in states)
            and (started_after is None or run.started_ms > started_after)
            and (started_before is None or run.started_ms < started_before)
            and (completed_after is None or (run.completed_ms is not None and run.completed_ms > completed_after))
        )

    runs, cursor = backend.cursors.page(
        f"runs {vm.vm_id}",
        reversed(vm.runs.values()),
        cursor=query.get("cursor"),
        limit=parsing.query_limit(backend, query),
        wanted=wanted,
    )
    body: dict[str, Any] = {"runs": [replies.run_summary_json(backend.generation, run) for run in runs]}
    if cursor is not None:
        body["next_cursor"] = cursor
    return replies.json_response(body)


__all__ = ["cancel_run", "get_run", "list_runs", "start_run"]
