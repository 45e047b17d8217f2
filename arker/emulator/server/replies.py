"""Records become the JSON shapes of the contract (section 4); absent members are left out."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from arker.emulator.clock import rfc3339
from arker.emulator.server import outputs
from arker.emulator.server.goldens import GOLDEN_ORG_ID, Golden
from arker.emulator.server.records import RunRecord, SessionRecord, VmRecord

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


def session_json(vm: VmRecord, session: SessionRecord) -> dict[str, Any]:
    body = _context(vm)
    body["session_id"] = session.session_id
    body["session_idx"] = session.index
    body["state"] = session.state
    body["cwd"] = session.cwd
    body["started_at"] = rfc3339(session.started_ms)
    if session.env:
        body["env"] = session.env
    return body


def vm_json(vm: VmRecord) -> dict[str, Any]:
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
        "sessions": [session_json(vm, vm.session)],
        "tunnels": [],
    }
    if vm.name is not None:
        body["name"] = vm.name
    if vm.root_id is not None:
        body["root_source_vm_id"] = vm.root_id
    if vm.root_name is not None:
        body["root_source_vm_name"] = vm.root_name
    if vm.max_memory_mib is not None:
        body["max_memory_mib"] = vm.max_memory_mib
    return body


def golden_json(golden: Golden, *, region: str, created_ms: int) -> dict[str, Any]:
    """A golden looks like a public VM that is never running; its name serves as its id."""
    return {
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
        "sessions": [],
        "tunnels": [],
    }


def run_summary_json(run: RunRecord) -> dict[str, Any]:
    body = _context(run.vm)
    body["run_id"] = run.run_id
    body["session_id"] = run.session.session_id
    body["command"] = run.command
    body["state"] = run.state
    body["started_at"] = rfc3339(run.started_ms)
    body["exit_code"] = run.exit_code
    if run.completed_ms is not None:
        body["completed_at"] = rfc3339(run.completed_ms)
    if run.fail_reason is not None:
        body["fail_reason"] = run.fail_reason
    return body


async def run_json(run: RunRecord) -> dict[str, Any]:
    # State and output have to belong together: read both before anything is awaited.
    body = run_summary_json(run)
    stdout, stderr = run.stdout(), run.stderr()
    body["stdout"], body["stdout_encoding"] = await outputs.encode(stdout)
    body["stderr"], body["stderr_encoding"] = await outputs.encode(stderr)
    body["tunnels"] = []
    body["retry_count"] = run.retry_count
    return body


async def completed_json(run: RunRecord) -> dict[str, Any]:
    """The reply to a run in the foreground: ``exit_code`` is a number even where there is no status."""
    stdout, stdout_encoding = await outputs.encode(run.stdout())
    stderr, stderr_encoding = await outputs.encode(run.stderr())
    body: dict[str, Any] = {
        "run_id": run.run_id,
        "state": run.state,
        "stdout": stdout,
        "stdout_encoding": stdout_encoding,
        "stderr": stderr,
        "stderr_encoding": stderr_encoding,
        "exit_code": -1 if run.exit_code is None else run.exit_code,
    }
    if run.fail_reason is not None:
        body["fail_reason"] = run.fail_reason
    return body


def background_json(run: RunRecord) -> dict[str, Any]:
    # A repeated request may find the run ended; the reply still tells of a background run, so it has no output.
    return {"run_id": run.run_id, "state": run.state, "tunnels": []}


def acknowledgement_json() -> dict[str, Any]:
    """The reply to an operation that started no command."""
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
    "background_json",
    "completed_json",
    "golden_json",
    "json_response",
    "run_json",
    "run_summary_json",
    "session_json",
    "vm_json",
]
