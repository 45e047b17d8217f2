"""The operations on sessions: list, create, get, delete (contract, section 5)."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from arker.emulator.sandbox.base import HOME, RunSpec, SandboxError
from arker.emulator.server import parsing, replies
from arker.emulator.server.backend import Backend
from arker.emulator.server.errors import ServiceError, from_sandbox, invalid, missing
from arker.emulator.server.ids import new_ulid
from arker.emulator.server.operations import execution, terminals
from arker.emulator.server.records import Organisation, SessionRecord, VmRecord

_ENV_BYTES = 512 * 1024  # a quarter of what Linux takes as arguments and environment together
_VARIABLE_BYTES = 96 * 1024  # Linux takes 128 KiB for one


def _env(fields: parsing.Fields) -> dict[str, str]:
    given = fields.map("env")
    env: dict[str, str] = {}
    members: dict[str, Any] = given or {}
    for name, value in members.items():
        if not name or "=" in name or "\0" in name:
            raise invalid("env", "names that are not empty, without '=' and NUL")
        if not isinstance(value, str) or "\0" in value:
            raise invalid(f"env.{name[:100]}", "a string without NUL")
        if len(name.encode()) + len(value.encode()) > _VARIABLE_BYTES:
            raise invalid(f"env.{name[:100]}", f"at most {_VARIABLE_BYTES} bytes")
        env[name] = value
    if sum(len(name.encode()) + len(value.encode()) + 2 for name, value in env.items()) > _ENV_BYTES:
        raise invalid("env", f"at most {_ENV_BYTES} bytes in all")
    return env


def carry_over(env: Mapping[str, str], before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Convert a session's environment for another VM: the session's own changes stay, the rest is the other VM's.

    Args:
        env: The session's environment.
        before: The initial environment of the VM that it is from.
        after: That of the VM that it is for.
    """
    own = {name: value for name, value in env.items() if before.get(name) != value}
    rest = {name: value for name, value in after.items() if name not in before or env.get(name) == before[name]}
    return {**rest, **own}


async def _directory(backend: Backend, vm: VmRecord, path: str | None) -> str:
    """Return the directory by the VM's own name for it. A relative path is below the home directory."""
    if path is None:
        return HOME
    # Only the VM knows its directories: change to the directory in its shell, and read where the shell then is.
    there = shlex.quote(path if path.startswith("/") else f"./{path}")
    try:
        async with backend.starts:
            handle = await vm.sandbox.run(RunSpec(command=f"cd -P -- {there}", output_limit=1024))
        exit_ = await handle.wait()
    except SandboxError as error:
        raise from_sandbox(error) from None
    if exit_.exit_code is None:
        raise ServiceError("unavailable", "cwd: the VM could not be asked for it")
    if exit_.exit_code != 0 or exit_.cwd is None:
        raise invalid("cwd", "a directory of the VM that its user may enter")
    return exit_.cwd


async def create_session(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    fields = await parsing.read_fields(backend, "CreateSessionRequest", request)
    vm = backend.usable_vm(org, request.match_info["vm_id"])
    opening = terminals.parse(fields)
    env, path = _env(fields), fields.text("cwd")
    if path is not None and len(path) > 4096:
        raise invalid("cwd", "a path of at most 4096 characters")
    cwd = await _directory(backend, vm, path)
    if vm.deleted:
        raise missing("vm", f"there is no VM {vm.vm_id!r}")
    session = add_session(backend, vm, cwd=cwd, env={**vm.sandbox.initial_env, **env} if env else {})
    if opening is not None:
        try:
            await terminals.start(backend, org, vm, session, opening)
        except ServiceError:
            vm.sessions.pop(session.session_id, None)
            backend.keeper.forget_session(session)
            raise
    return replies.json_response(replies.session_json(backend.generation, vm, session))


def add_session(
    backend: Backend, vm: VmRecord, *, index: int | None = None, cwd: str = HOME, env: dict[str, str] | None = None
) -> SessionRecord:
    """Add a session, with the VM's next number unless another one is given."""
    now = backend.clock.now_ms()
    number = vm.next_index if index is None else index
    session = SessionRecord(
        session_id=new_ulid(now), seq=backend.next_number(), index=number, started_ms=now, cwd=cwd, env=env or {}
    )
    vm.next_index = max(vm.next_index, number + 1)
    backend.keeper.add_session(vm, session)
    vm.sessions[session.session_id] = session
    vm.last_active_ms = now
    return session


async def list_sessions(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    vm = backend.vm(org, request.match_info["vm_id"])
    states = parsing.query_choices(request.query, "state", backend.generation.states_of_sessions)
    sessions, cursor = backend.cursors.page(
        f"sessions {vm.vm_id}",
        reversed(vm.sessions.values()),
        cursor=request.query.get("cursor"),
        limit=parsing.query_limit(backend, request.query),
        wanted=lambda session: states is None or backend.generation.working(session.state) in states,
    )
    body: dict[str, Any] = {"sessions": [replies.session_json(backend.generation, vm, session) for session in sessions]}
    if cursor is not None:
        body["next_cursor"] = cursor
    return replies.json_response(body)


async def get_session(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    vm = backend.vm(org, request.match_info["vm_id"])
    session = backend.session(vm, request.match_info["session_id"])
    return replies.json_response(replies.session_json(backend.generation, vm, session))


async def delete_session(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    """Delete a session and stop what runs in it, background children included.

    In generation 0.5 the default session stays. Generation 1 has no such exception: an empty one takes its place.
    """
    vm = backend.usable_vm(org, request.match_info["vm_id"])
    session = backend.session(vm, request.match_info["session_id"])
    is_default = session is vm.session
    if is_default and not backend.generation.new:
        message = "the default session (session_idx 0) cannot be deleted"
        raise ServiceError("conflict", message, resource="session")
    if is_default:
        add_session(backend, vm, index=0)  # before the other is forgotten: a kept VM is never without one
    backend.keeper.forget_session(session)
    del vm.sessions[session.session_id]
    await asyncio.gather(
        terminals.remove(session, "the session was deleted"), execution.stop_session(backend, vm, session)
    )
    return replies.json_response({"deleted": True})


__all__ = [
    "add_session",
    "carry_over",
    "create_session",
    "delete_session",
    "get_session",
    "list_sessions",
]
