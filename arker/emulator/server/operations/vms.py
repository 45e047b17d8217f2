"""The operations on VMs: fork, list, get, delete (contract, section 5)."""

from __future__ import annotations

import asyncio
import heapq
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from aiohttp import web
from attrs import frozen

from arker.emulator.sandbox.base import HOME, SandboxError
from arker.emulator.server import parsing, replies
from arker.emulator.server.backend import Backend, logger
from arker.emulator.server.errors import ServiceError, from_lack, from_sandbox, invalid
from arker.emulator.server.goldens import GOLDEN_ORG_ID, Golden, NetworkJson, find_golden, require_supported
from arker.emulator.server.idempotency import Scope, fingerprint
from arker.emulator.server.ids import is_burst_reference, looks_like_id, new_burst_id, new_ulid
from arker.emulator.server.journal.trace import trace_of
from arker.emulator.server.operations import execution, filesystems, networks, tunnels, uploads
from arker.emulator.server.operations.sessions import carry_over
from arker.emulator.server.records import Organisation, SessionRecord, VmRecord

_PAUSE = 5.0  # seconds, before what could not be removed is tried again
_NO_CONTROL = re.compile(r"[^\x00-\x1f\x7f]{1,255}")


@frozen(kw_only=True)
class _Wish:
    source_id: str | None
    source_name: str | None
    source_org: str | None
    name: str | None
    public: bool
    network: NetworkJson | None
    disk: bool
    vcpu_count: int | None
    memory_mib: int | None
    max_memory_mib: int | None
    disk_mib: int | None
    tunnel: tunnels.Wish | None


def _new_name(fields: parsing.Fields) -> str | None:
    name = fields.text("name")
    if name is None:
        return None
    if not _NO_CONTROL.fullmatch(name) or name != name.strip() or name in {".", ".."}:
        raise invalid("name", "at most 255 characters, no control characters, no blanks around them, not . or ..")
    if looks_like_id(name):
        raise invalid("name", "a name that does not look like an id")
    return name


def _parse(body: dict[str, Any]) -> _Wish:
    fields = parsing.Fields(body)
    source_id, source_name = fields.text("source_vm_id"), fields.text("source_vm_name")
    if (source_id is None) == (source_name is None):
        raise invalid("source_vm_id, source_vm_name", "exactly one of them")
    tunnel = fields.object("tunnel")
    if fields.boolean("durable"):
        # Nothing here survives a failure of the host, which is this machine.
        raise ServiceError("unsupported_operation", "durable: VMs of the embedded backend are not durable")
    disk = fields.boolean("disk")
    vcpu_count, memory_mib, disk_mib = parsing.sizes(fields)
    return _Wish(
        source_id=source_id,
        source_name=source_name,
        source_org=fields.text("source_org_id"),
        name=_new_name(fields),
        public=fields.boolean("public") or False,
        network=networks.parse(fields),
        disk=True if disk is None else disk,
        vcpu_count=vcpu_count,
        memory_mib=memory_mib,
        max_memory_mib=fields.integer("max_memory_mib", minimum=1, maximum=parsing.SIZE_MAXIMUM),
        disk_mib=disk_mib,
        tunnel=None if tunnel is None else tunnels.parse(tunnel),
    )


def _source(backend: Backend, org: Organisation, wish: _Wish) -> Golden | VmRecord:
    """Find the source of a fork. Another organisation's private VM is answered as if it did not exist."""
    reference = (wish.source_id or wish.source_name or "").strip()
    if wish.source_org in {None, GOLDEN_ORG_ID}:
        golden = find_golden(reference)
        if golden is not None:
            return require_supported(golden)
    field = "source_vm_id" if wish.source_id is not None else "source_vm_name"
    missing = ServiceError("not_found", f"{field}: there is no VM {reference!r} to fork")
    owners = list(backend.organisations.values()) if wish.source_id is not None else [org]
    if wish.source_org is not None:
        owners = [owner for owner in backend.organisations.values() if owner.org_id == wish.source_org]
    for owner in owners:
        # An id finds any VM. A name finds one of the named organisation, or of the caller.
        by_name = owner is org or wish.source_org is not None
        vm = owner.vms.get(reference) if wish.source_id is not None else None
        vm = vm or (owner.names.get(reference) if by_name else None)
        if vm is not None and (owner is org or vm.public):
            return vm
    raise missing


async def fork(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    key = parsing.idempotency_key(request)
    body = await parsing.read_object(request)
    scope: Scope | None = None
    digest = b""
    if key is not None:
        scope = (org.org_id, "POST", request.rel_url.raw_path, key)
        digest = fingerprint(body)
        known = backend.ledger.find(scope, digest)
        if known is not None:
            return _forked(request, await known.outcome())
    wish = _parse(body)
    source = _source(backend, org, wish)
    trace_of(request).source_vm_id = source.name if isinstance(source, Golden) else source.vm_id
    network = wish.network or (source.network if isinstance(source, VmRecord) else source.network())
    networks.require_enforceable(backend, network, asked=wish.network is not None)
    if wish.name is not None and (wish.name in org.names or find_golden(wish.name) is not None):
        raise ServiceError("conflict", f"name: {wish.name!r} is taken")
    now = backend.clock.now_ms()
    burst = is_burst_reference(source.name if isinstance(source, Golden) else source.vm_id)
    vm_id = new_burst_id(now) if burst else new_ulid(now)
    entry = None if scope is None else backend.ledger.open(scope, digest, f"fork {vm_id}")
    if wish.name is not None:
        org.names[wish.name] = None  # the name is taken from now on
    try:
        with backend.changing(org):
            vm = await _create(backend, org, wish, source, vm_id, network)
    except Exception as error:
        if wish.name is not None:
            org.names.pop(wish.name, None)
        if org.over:
            refusal = ServiceError("unavailable", "the server was reset while the VM was being made")
        elif isinstance(error, SandboxError):
            refusal = from_sandbox(error)
        elif isinstance(error, ServiceError):
            refusal = error
        else:
            lacking = from_lack(error)
            if lacking is None:
                logger.exception("the fork %s failed", vm_id)
            refusal = lacking or ServiceError("internal", "the VM could not be made")
        if scope is not None and entry is not None:
            backend.ledger.refuse(scope, entry, refusal)
        raise refusal from None
    backend.journal.note_fork(vm, source.name if isinstance(source, Golden) else source.vm_id, key)
    if scope is not None and entry is not None:
        backend.ledger.settle(entry, vm)
        backend.ledger.complete(scope, entry)
    return _forked(request, vm)


def _forked(request: web.Request, vm: VmRecord) -> web.Response:
    trace_of(request).note_vm(vm)
    return replies.json_response(replies.vm_json(vm, made=True))


async def _create(
    backend: Backend, org: Organisation, wish: _Wish, source: Golden | VmRecord, vm_id: str, network: NetworkJson
) -> VmRecord:
    parent = source if isinstance(source, VmRecord) else None
    # A fork starts in its parent's current state, including the state of the default session.
    cwd, env = (HOME, {}) if parent is None else (parent.session.cwd, dict(parent.session.env))
    outlet = networks.outlet(backend, network)
    sandbox = await backend.provider.create(vm_id, source=None if parent is None else parent.sandbox, outlet=outlet)
    if parent is not None and env:
        env = carry_over(env, parent.sandbox.initial_env, sandbox.initial_env)
    now = backend.clock.now_ms()
    root_id, root_name = None, None
    if parent is not None:
        root_id, root_name = parent.root_id or parent.vm_id, parent.root_name if parent.root_id else parent.name
    session = SessionRecord(session_id=new_ulid(now), index=0, started_ms=now, cwd=cwd, env=env)
    vm = VmRecord(
        vm_id=vm_id,
        seq=backend.next_number(),
        org_id=org.org_id,
        name=wish.name,
        public=wish.public,
        created_ms=now,
        region=backend.options.region,
        provider=source.provider,
        root_id=root_id,
        root_name=root_name,
        network=network,
        disk=wish.disk and source.disk,
        vcpu_count=wish.vcpu_count or source.vcpu_count,
        memory_mib=wish.memory_mib or source.memory_mib,
        max_memory_mib=wish.max_memory_mib,
        disk_mib=wish.disk_mib or source.disk_mib,
        sandbox=sandbox,
        sessions={session.session_id: session},
    )
    try:
        if parent is not None and parent.syncs:
            filesystems.inherit(backend, parent, vm)
            await filesystems.apply(vm)
        backend.require_current(org)
        if wish.tunnel is not None:
            tunnels.open_tunnel(backend, vm, wish.tunnel, with_vm=True)
    except BaseException:
        await asyncio.shield(sandbox.delete())
        raise
    org.vms[vm_id] = vm
    if wish.name is not None:
        org.names[wish.name] = vm
    return vm


async def get_vm(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    reference = request.match_info["vm_id"]
    golden = find_golden(reference)
    if golden is not None:
        described = replies.golden_json(
            require_supported(golden), region=backend.options.region, created_ms=backend.started_ms
        )
        return replies.json_response(described)
    return replies.json_response(replies.vm_json(backend.vm(org, reference)))


async def resize(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    """Resize a VM. The numbers are only recorded and reported; the real resources are this machine's."""
    fields = parsing.Fields(await parsing.read_object(request))
    vm = backend.vm(org, request.match_info["vm_id"])
    vcpu_count, memory_mib, disk_mib = parsing.sizes(fields)
    if vcpu_count is None and memory_mib is None and disk_mib is None:
        raise invalid("vcpu_count, memory_mib, disk_mib", "at least one of them")
    vm.vcpu_count = vcpu_count or vm.vcpu_count
    vm.memory_mib = memory_mib or vm.memory_mib
    vm.disk_mib = disk_mib or vm.disk_mib
    return replies.json_response({"resized": True})


async def delete_vm(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    vm = backend.vm(org, request.match_info["vm_id"])
    # Remove it from the records first: from now on no request finds it.
    vm.deleted = True
    del org.vms[vm.vm_id]
    if vm.name is not None:
        del org.names[vm.name]
    tunnels.close_all(vm)
    going = [run for run in vm.runs.values() if not run.done.is_set()]
    with backend.changing(org):
        await asyncio.gather(*[execution.stop(backend, run, "VM deleted") for run in reversed(going)])
        await uploads.discard_all(vm)
        try:
            await vm.sandbox.delete()
        except SandboxError as error:
            # The VM is no longer in the records, so no client can delete it again.
            backend.spawn(_delete_later(backend, vm))
            raise from_sandbox(error) from None
        finally:
            await execution.discard_runs(vm)
    return replies.json_response({"deleted": True})


async def _delete_later(backend: Backend, vm: VmRecord) -> None:
    """Retry until the files of a VM are deleted or the server ends, which removes them."""
    while not backend.over.is_set():
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(backend.over.wait(), _PAUSE)
        try:
            await vm.sandbox.delete()
        except SandboxError as error:
            logger.warning("VM %s could not be removed: %s", vm.vm_id, error)
        else:
            return


def _visible(backend: Backend, org: Organisation, owners: frozenset[str] | None) -> Iterable[VmRecord]:
    """Return the caller's VMs, or with the filter, the public VMs of the named organisations."""
    if owners is None:
        return reversed(org.vms.values())
    listed = [
        [vm for vm in reversed(owner.vms.values()) if owner is org or vm.public]
        for owner in backend.organisations.values()
        if owner.org_id in owners
    ]
    return heapq.merge(*listed, key=lambda vm: -vm.seq)


async def list_vms(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    query = request.query
    regions = parsing.query_choices(query, "region")
    providers = parsing.query_choices(query, "provider")
    states = parsing.query_choices(query, "state", ("idle", "running"))
    started_after = parsing.query_instant(query, "started_after")
    started_before = parsing.query_instant(query, "started_before")

    def wanted(vm: VmRecord) -> bool:
        return (
            (regions is None or vm.region in regions)
            and (providers is None or vm.provider in providers)
            and (states is None or vm.state in states)
            and (started_after is None or vm.created_ms > started_after)
            and (started_before is None or vm.created_ms < started_before)
        )

    vms, cursor = backend.cursors.page(
        f"vms {org.org_id}",
        _visible(backend, org, parsing.query_choices(query, "source_org_id")),
        cursor=query.get("cursor"),
        limit=parsing.query_limit(query),
        wanted=wanted,
    )
    body: dict[str, Any] = {"vms": [replies.vm_json(vm) for vm in vms]}
    if cursor is not None:
        body["next_cursor"] = cursor
    return replies.json_response(body)


__all__ = ["delete_vm", "fork", "get_vm", "list_vms", "resize"]
