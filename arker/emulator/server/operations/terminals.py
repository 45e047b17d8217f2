"""The operations on sessions' terminals (contract 1, section 9): tickets, attachments, sizes.

A session has one terminal at most, and one connection is attached to it at a time; meanwhile the session runs nothing
else. A terminal goes with its session and its VM, and a fork of the VM gets none of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import orjson
from aiohttp import WSCloseCode, WSMsgType, web
from attrs import frozen

from arker.emulator.sandbox.base import SandboxError, TerminalSpec
from arker.emulator.server import parsing, replies, streams
from arker.emulator.server.backend import Backend
from arker.emulator.server.errors import ServiceError, from_sandbox, invalid
from arker.emulator.server.operation import Schema
from arker.emulator.server.records import Organisation, SessionRecord, VmRecord
from arker.emulator.server.terminal import Terminal, Typed
from arker.emulator.server.tickets import LIFETIME, Ticket

_MOST: Final = 1000
"""The largest number of columns or rows of a terminal."""
_LONGEST: Final = 30 * 24 * 3600
"""The most seconds for which a terminal may be kept without a connection."""
SIZE: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": _MOST}
IDLE_SECONDS: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": _LONGEST}

PER_VM: Final = 16
PER_ORGANISATION: Final = 128
"""Terminals in which something runs, at once."""

_TERM: Final = "xterm-256color"
"""The kind of terminal that programs are told, if the session's environment does not say."""
_LONGEST_MESSAGE: Final = 1024 * 1024
_CLOSE_SECONDS: Final = 5.0
"""Seconds that the other end has to answer the end of a connection."""


@frozen(kw_only=True)
class Opening:
    """How a terminal is started."""

    command: str | None = None
    cols: int | None = None
    rows: int | None = None


def _path(command: str | None) -> str | None:
    if command is not None and (not command.startswith("/") or "\0" in command or len(command) > 4096):
        raise invalid("command", "the absolute path of a program, of at most 4096 characters, without arguments")
    return command


def parse(fields: parsing.Fields) -> Opening | None:
    """Parse what the creation of a session says of a terminal; None if the session is to have none yet."""
    opening = Opening(
        command=_path(fields.text("command")),
        cols=fields.integer("cols", minimum=1, maximum=_MOST),
        rows=fields.integer("rows", minimum=1, maximum=_MOST),
    )
    if fields.boolean("pty"):
        return opening
    if opening != Opening():
        raise invalid("cols, rows, command", "them only with pty: true")
    return None


def require_none(session: SessionRecord) -> None:
    """Check that no program runs in the session's terminal."""
    if session.in_terminal:
        message = f"a terminal is attached to the session {session.session_id}: run commands in another one"
        raise ServiceError("resource_busy", message, resource="session")


def discard_all(vm: VmRecord, reason: str) -> None:
    for session in vm.sessions.values():
        if session.terminal is not None:
            session.terminal.discard(reason)


async def remove(session: SessionRecord, reason: str) -> None:
    """End the terminal of a session that can no longer be found."""
    if session.terminal is not None:
        await session.terminal.remove(reason)


def _count(vms: Iterable[VmRecord]) -> int:
    return sum(session.in_terminal for vm in vms for session in vm.sessions.values())


def _require_room(org: Organisation, vm: VmRecord) -> None:
    limits: list[tuple[int, int, dict[str, Any]]] = [
        (_count([vm]), PER_VM, {"kind": "vm", "vm_id": vm.vm_id}),
        (_count(org.vms.values()), PER_ORGANISATION, {"kind": "organization"}),
    ]
    for count, most, scope in limits:
        if count >= most:
            where = f"VM {vm.vm_id} has" if scope["kind"] == "vm" else "the organisation has"
            details = {
                "limit": {"metric": "pty_sessions", "unit": "sessions"},
                "scope": scope,
                "enforcement": "worker_local",
                "measurements": {
                    "kind": "measured",
                    "current_usage": count,
                    "requested_increment": 1,
                    "projected_usage": count + 1,
                    "cap": most,
                },
            }
            raise ServiceError(
                "quota_exceeded", f"{where} {most} terminals already, and may have no more", details=details
            )


async def start(
    backend: Backend, org: Organisation, vm: VmRecord, session: SessionRecord, opening: Opening
) -> Terminal:
    """Start the session's terminal."""
    if session.pending or session.opening:
        message = f"something runs in the session {session.session_id}: attach when it has ended"
        raise ServiceError("resource_busy", message, resource="session")
    _require_room(org, vm)
    env = dict(session.env or vm.sandbox.initial_env)
    env.setdefault("TERM", _TERM)
    spec = TerminalSpec(
        command=opening.command, cwd=session.cwd, env=env, cols=opening.cols or 80, rows=opening.rows or 24
    )
    session.opening = True
    try:
        async with backend.starts:
            handle = await vm.sandbox.open_terminal(spec)
    except SandboxError as error:
        refusal = from_sandbox(error)
        if refusal.code == "bad_request":
            refusal.message = f"command: {error}"
            refusal.details = {"violations": [{"field": "command", "message": str(error)}]}
        raise refusal from None
    finally:
        session.opening = False
    session.handles.add(handle)
    session.terminal = terminal = Terminal(backend.spawn, handle, spec.cols, spec.rows)
    vm.last_active_ms = backend.clock.now_ms()
    if vm.deleted or session.session_id not in vm.sessions:
        await terminal.remove("the session was deleted")
        raise ServiceError("not_found", "the session was deleted meanwhile", resource="session")
    return terminal


async def create_ticket(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    await parsing.read_fields(backend, "PtyTicketRequest", request)
    vm = backend.usable_vm(org, request.match_info["vm_id"])
    session = backend.session(vm, request.match_info["session_id"])
    text = backend.tickets.issue(Ticket(org_id=org.org_id, vm_id=vm.vm_id, session_id=session.session_id))
    return replies.json_response({"ticket": text, "expires_in": LIFETIME})


async def update_session(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    fields = await parsing.read_fields(backend, "PatchSessionRequest", request)
    cols, rows = (fields.integer(name, minimum=1, maximum=_MOST) for name in ("cols", "rows"))
    seconds = fields.integer("timeout_secs", minimum=0, maximum=_LONGEST)
    vm = backend.usable_vm(org, request.match_info["vm_id"])
    session = backend.session(vm, request.match_info["session_id"])
    terminal = session.terminal
    if terminal is None or not terminal.running:
        what = {"resource": {"kind": "session", "id": session.session_id}, "requirement": "running"}
        message = f"the session {session.session_id} has no terminal: attach to it first"
        raise ServiceError("invalid_state", message, details=what)
    terminal.resize(cols, rows)
    if seconds is not None:
        terminal.set_idle_seconds(seconds or None)
    return replies.json_response({"ok": True, "session_id": session.session_id})


async def attach(backend: Backend, org: Organisation, request: web.Request) -> web.StreamResponse:
    query = request.query
    cols, rows = (parsing.query_integer(query, name, minimum=1, maximum=_MOST) for name in ("cols", "rows"))
    idle_seconds = parsing.query_integer(query, "cancel_ttl_secs", minimum=1, maximum=_LONGEST)
    persist = parsing.query_boolean(query, "persist")
    command = _path(query.get("command"))
    vm = backend.usable_vm(org, request.match_info["vm_id"])
    session = backend.session(vm, request.match_info["session_id"])
    socket = web.WebSocketResponse(
        max_msg_size=_LONGEST_MESSAGE, compress=False, timeout=_CLOSE_SECONDS, receive_timeout=None
    )
    if not socket.can_prepare(request):
        raise ServiceError("bad_request", "expected the handshake of a WebSocket")
    if session.terminal is not None:
        await session.terminal.vacate()
    terminal = session.terminal
    if terminal is None or terminal.over:
        terminal = await start(backend, org, vm, session, Opening(command=command, cols=cols, rows=rows))
    elif terminal.attached:
        message = f"a connection is attached to the terminal of the session {session.session_id} already"
        raise ServiceError("resource_busy", message, resource="session")
    else:
        terminal.resize(cols, rows)
    terminal.settle(persist=persist is not False, idle_seconds=idle_seconds)
    attachment = terminal.attach(lambda: socket.closed)
    sending: asyncio.Task[None] | None = None
    try:
        if await streams.open_socket(request, socket):
            sending = backend.spawn(terminal.send_output(attachment, socket))
            await _receive(backend, terminal, socket)
    finally:
        if sending is not None:
            # The end of the terminal is told by this task, which also ends the connection.
            if not attachment.ending:
                sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        terminal.detach(attachment)
    return socket


async def _receive(backend: Backend, terminal: Terminal, socket: web.WebSocketResponse) -> None:
    """Take what the connection sends, until it ends."""
    typed = Typed(terminal.write)

    async def pass_on() -> None:
        if not await typed.pass_on():
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"the program takes no input")

    passing_on = backend.spawn(pass_on())
    try:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await typed.add(message.data)
            elif message.type is WSMsgType.TEXT:
                problem = _obey(backend, terminal, message.data)
                if problem is not None:
                    await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=problem.encode())
        await typed.finish()
        await passing_on
    finally:
        passing_on.cancel()
        await asyncio.gather(passing_on, return_exceptions=True)


def _obey(backend: Backend, terminal: Terminal, text: str) -> str | None:
    """Do what a text frame says. Returns what is wrong with it, for people."""
    try:
        frame: Any = orjson.loads(text)
    except ValueError:
        return "a text frame is a JSON object"
    match frame:
        case {"type": "ping", **rest} if not rest:
            return None
        case {"type": "kill", **rest} if not rest:
            backend.spawn(terminal.kill())
            return None
        case {"type": "resize", "cols": cols, "rows": rows, **rest} if not rest and _is_size(cols) and _is_size(rows):
            terminal.resize(cols, rows)
            return None
        case {"type": "resize"}:
            return f"resize: expected cols and rows, integers from 1 to {_MOST}"
        case _:
            return "a text frame has the type resize, kill or ping, and what belongs to it"


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST


__all__ = [
    "IDLE_SECONDS",
    "PER_ORGANISATION",
    "PER_VM",
    "SIZE",
    "Opening",
    "attach",
    "create_ticket",
    "discard_all",
    "parse",
    "remove",
    "require_none",
    "start",
    "update_session",
]
