"""The conversion of records to the JSON shapes of the contract (section 4). Absent members are left out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Any

import orjson
from aiohttp import web

from arker.emulator.control.clock import rfc3339
from arker.emulator.server import outputs, streams
from arker.emulator.server.generation import Generation
from arker.emulator.server.goldens import GOLDEN_ORG_ID, PLATFORMS, Golden
from arker.emulator.server.records import FilesystemRecord, RunRecord, SessionRecord, SyncRecord, TunnelRecord, VmRecord

_HEADERS = {"Content-Type": "application/json"}


def json_response(body: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(body), headers=_HEADERS)


def _context(vm: VmRecord) -> dict[str, Any]:
    context: dict[str, Any] = {
        "vm_id": vm.vm_id,
        "source_org_id": vm.org_id,
        "region": vm.region,
        "provider": vm.provider,
    }
    if vm.name is not None:
        context["vm_name"] = vm.name
    return context


def session_json(speaks: Generation, vm: VmRecord, session: SessionRecord) -> dict[str, Any]:
    body = _context(vm)
    body["session_id"] = session.session_id
    body["session_idx"] = session.index
    body["state"] = speaks.working(session.state)
    body["cwd"] = _text(session.cwd)
    body["started_at"] = rfc3339(session.started_ms)
    body["env"] = {_text(name): _text(value) for name, value in (session.env or vm.sandbox.initial_env).items()}
    return body


def _text(value: str) -> str:
    """Convert a VM's output for JSON: bytes that were not UTF-8 (lone surrogates here) become U+FFFD."""
    if value.isascii():
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def vm_json(
    speaks: Generation, vm: VmRecord, *, made: bool = False, listed: bool = False, own: bool = True
) -> dict[str, Any]:
    """Return a VM. The reply to the fork that made it includes the token of the tunnel that the fork asked for. In a
    list, VMs are without their policies.

    Another organisation may fork a public VM, and nothing else: what its sessions have in their environments, and how
    its tunnels are reached, it is not told.
    """
    body: dict[str, Any] = {
        "vm_id": vm.vm_id,
        "owner_org_id": vm.org_id,
        "created_at": rfc3339(vm.created_ms),
        "public": vm.public,
        "state": vm.state,
        "region": vm.region,
        "provider": vm.provider,
        "started_at": rfc3339(vm.created_ms),
        "vcpu_count": vm.vcpu_count,
        "memory_mib": vm.memory_mib,
        "disk_mib": vm.disk_mib,
        "network": vm.network,
        "resources": _resources(vm.vcpu_count, vm.memory_mib, vm.disk_mib),
        "description": vm.description,
        "hostname": None,
        "immutable": vm.immutable,
        "platform": PLATFORMS[-1],
        "last_active_at": rfc3339(vm.last_active_ms),
        "sessions": [session_json(speaks, vm, session) for session in vm.sessions.values() if own],
        "tunnels": [
            tunnel_json(tunnel, token=made and tunnel.with_vm)
            for tunnel in vm.tunnels.values()
            if own and tunnel.state == "open"
        ],
    }
    if vm.name is not None:
        body["name"] = vm.name
    if vm.root_id is not None:
        body["root_source_vm_id"] = vm.root_id
    if vm.root_name is not None:
        body["root_source_vm_name"] = vm.root_name
    if vm.max_memory_mib is not None:
        body["max_memory_mib"] = vm.max_memory_mib
    if vm.rules is not None and not listed:
        body["policies"] = {"rules": vm.rules, "secrets": {}}
    return _shown_vm(speaks, body)


def _shown_vm(speaks: Generation, body: dict[str, Any]) -> dict[str, Any]:
    if not speaks.old:
        body["network"] = {}  # no key opens a way into a VM
    return speaks.show("Vm", body)


def _resources(vcpu: int, memory_mib: int, disk_mib: int) -> dict[str, int]:
    return {"vcpu": vcpu, "memory_mib": memory_mib, "disk_mib": disk_mib}


def golden_json(speaks: Generation, golden: Golden, *, region: str, created_ms: int) -> dict[str, Any]:
    """Return a golden as a public VM that is never running. Its name serves as its id."""
    body: dict[str, Any] = {
        "vm_id": golden.name,
        "owner_org_id": GOLDEN_ORG_ID,
        "created_at": rfc3339(created_ms),
        "name": golden.name,
        "public": True,
        "state": "idle",
        "region": region,
        "provider": golden.provider,
        "vcpu_count": golden.vcpu_count,
        "memory_mib": golden.memory_mib,
        "disk_mib": golden.disk_mib,
        "network": golden.network(),
        "resources": _resources(golden.vcpu_count, golden.memory_mib, golden.disk_mib),
        "description": None,
        "immutable": True,
        "platform": PLATFORMS[-1],
        "sessions": [],
        "tunnels": [],
    }
    return _shown_vm(speaks, body)


def run_summary_json(speaks: Generation, run: RunRecord) -> dict[str, Any]:
    body = _context(run.vm)
    body["run_id"] = run.run_id
    body["session_id"] = run.session.session_id
    body["command"] = run.command
    body["state"] = speaks.working(run.state)
    body["started_at"] = rfc3339(run.started_ms)
    body["exit_code"] = run.exit_code
    if run.completed_ms is not None:
        body["completed_at"] = rfc3339(run.completed_ms)
    if run.fail_reason is not None:
        body["fail_reason"] = run.fail_reason
    return body


async def run_response(speaks: Generation, request: web.Request, run: RunRecord) -> web.StreamResponse:
    """Return a run with its output so far."""
    # State and output have to be consistent: read all of them before the first await.
    body = run_summary_json(speaks, run)
    stdout, stderr = run.stdout(), run.stderr()
    body["tunnels"] = [tunnel_json(tunnel) for tunnel in run.tunnels]
    body["retry_count"] = run.retry_count
    return await _with_outputs(request, speaks.show("Run", body), stdout, stderr)


async def completed_response(speaks: Generation, request: web.Request, run: RunRecord) -> web.StreamResponse:
    """Return the reply to a foreground run."""
    body: dict[str, Any] = {
        "run_id": run.run_id,
        "session_id": run.session.session_id,
        "state": speaks.ended(run.state),
        "exit_code": speaks.exit_code(run.exit_code, run.state),
    }
    if run.fail_reason is not None:
        body["fail_reason"] = run.fail_reason
    body = speaks.show("CompletedRunResponse", body)
    return await _with_outputs(request, body, run.stdout(), run.stderr())


async def _with_outputs(
    request: web.Request, body: dict[str, Any], stdout: outputs.Output, stderr: outputs.Output
) -> web.StreamResponse:
    texts: dict[str, outputs.Encoded] = {}
    with ExitStack() as stack:
        for name, output in (("stdout", stdout), ("stderr", stderr)):
            texts[name] = encoded = await outputs.encode(output)
            stack.callback(encoded.close)
            body[f"{name}_encoding"] = encoded.encoding
        return await large_response(request, body, texts)


async def large_response(
    request: web.Request, body: dict[str, Any], texts: dict[str, outputs.Encoded]
) -> web.StreamResponse:
    """Return a reply with members that may be large. A large one is sent piece by piece and never copied as a whole."""
    parts: list[bytes | outputs.Pieces] = []
    for name, encoded in texts.items():
        if isinstance(encoded.text, str):
            body[name] = encoded.text
        else:
            parts += [f',"{name}":"'.encode(), encoded.text, b'"']
    if not parts:
        return json_response(body)
    parts = [orjson.dumps(body)[:-1], *parts, b"}"]
    response = web.StreamResponse(headers=_HEADERS)
    response.content_length = sum(len(part) if isinstance(part, bytes) else part.size for part in parts)
    return await streams.send(request, response, _each(parts))


async def _each(parts: list[bytes | outputs.Pieces]) -> AsyncGenerator[bytes, None]:
    for part in parts:
        if isinstance(part, bytes):
            yield part
        else:
            async for piece in part:
                yield piece


def background_response(speaks: Generation, run: RunRecord) -> web.Response:
    # On a repeated request the run may have ended. The reply still describes a background run, without output.
    body = {
        "run_id": run.run_id,
        "session_id": run.session.session_id,
        "state": speaks.working(run.state),
        "tunnels": [tunnel_json(tunnel, token=True) for tunnel in run.tunnels],
    }
    shown = orjson.dumps(speaks.show("BackgroundRunResponse", body))
    return web.Response(body=shown, headers=_HEADERS, status=speaks.accepted)


def tunnel_json(tunnel: TunnelRecord, *, token: bool = False) -> dict[str, Any]:
    """Return a tunnel. Only the reply that created it includes its token."""
    body = _context(tunnel.vm)
    body["port"] = tunnel.port
    body["visibility"] = "public" if tunnel.token is None else "private"
    body["protocol"] = "http"
    body["url"] = tunnel.proxy.url
    body["state"] = tunnel.state
    body["started_at"] = rfc3339(tunnel.started_ms)
    body["tunnel_key"] = tunnel.tunnel_key
    body["auth_mode"] = "public" if tunnel.token is None else "authenticated"
    if tunnel.run_id is not None:
        body["run_id"] = tunnel.run_id
    if token and tunnel.token is not None:
        body["auth_token"] = tunnel.token
    return body


def filesystem_json(filesystem: FilesystemRecord, size: int | None) -> dict[str, Any]:
    body: dict[str, Any] = {
        "filesystem_id": filesystem.filesystem_id,
        "name": filesystem.name,
        "owner_org_id": filesystem.org_id,
        "created_at": rfc3339(filesystem.created_ms),
        "region": filesystem.region,
        "provider": "aws",
    }
    if size is not None:
        body["size_bytes"] = size
    return body


def sync_json(vm: VmRecord, sync: SyncRecord, *, idempotent: bool = False) -> dict[str, Any]:
    body = _context(vm)
    body["sync_id"] = sync.sync_id
    body["filesystem_id"] = sync.filesystem.filesystem_id
    body["filesystem_name"] = sync.filesystem.name
    body["path"] = sync.path
    body["created_at"] = rfc3339(sync.created_ms)
    reason = vm.sandbox.unbound(sync.path)
    body["live"] = reason is None
    if reason is not None:
        body["live_error"] = reason
    if idempotent:
        body["idempotent"] = True
    return body


def mount_json(vm: VmRecord, sync: SyncRecord) -> dict[str, Any]:
    """Return a sync as generation 1 describes it."""
    body: dict[str, Any] = {
        "mount_id": sync.sync_id,
        "vm_id": vm.vm_id,
        "filesystem_id": sync.filesystem.filesystem_id,
        "path": sync.path,
        "region": vm.region,
        "state": "mounted",
    }
    obstacle = vm.sandbox.obstacle(sync.path)
    if obstacle is not None:
        body["state"], body["state_detail"] = "failed", obstacle
    elif vm.sandbox.unbound(sync.path) is not None:
        body["state"] = "attaching"
    return body


def acknowledgement_json() -> dict[str, Any]:
    """Return the reply to an operation that started no command."""
    return {
        "state": "completed",
        "stdout": "",
        "stdout_encoding": "utf-8",
        "stderr": "",
        "stderr_encoding": "utf-8",
        "exit_code": 0,
    }


__all__ = [
    "acknowledgement_json",
    "background_response",
    "completed_response",
    "filesystem_json",
    "golden_json",
    "json_response",
    "large_response",
    "mount_json",
    "run_response",
    "run_summary_json",
    "session_json",
    "sync_json",
    "tunnel_json",
    "vm_json",
]
