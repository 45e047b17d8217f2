"""The fork: a new VM from a VM, a golden or an image."""

from __future__ import annotations

import asyncio
import re
import time

from aiohttp import web
from attrs import frozen

from arker.emulator.sandbox.base import HOME, SandboxError
from arker.emulator.server import parsing, replies
from arker.emulator.server.backend import Backend, logger
from arker.emulator.server.errors import ServiceError, from_lack, from_sandbox, invalid, missing, taken, unsupported
from arker.emulator.server.goldens import PLATFORMS, Golden, NetworkJson, find_golden
from arker.emulator.server.idempotency import Entry, Scope, fingerprint
from arker.emulator.server.ids import is_burst_reference, looks_like_id, new_burst_id, new_ulid
from arker.emulator.server.journal.trace import trace_of
from arker.emulator.server.keeper import Key
from arker.emulator.server.operations import changes, execution, filesystems, networks, policies, sources, tunnels
from arker.emulator.server.operations.sessions import carry_over
from arker.emulator.server.operations.sources import Source
from arker.emulator.server.records import Organisation, SessionRecord, VmRecord

_NO_CONTROL = re.compile(r"[^\x00-\x1f\x7f]{1,255}")


@frozen(kw_only=True)
class _Wish:
    source: Source
    name: str | None
    description: str | None
    public: bool
    network: NetworkJson | None
    fields: parsing.Fields
    """Those of the request: what its policies mean depends on the source."""
    disk: bool | None
    durable: bool
    sizes: parsing.Sizes
    max_memory_mib: int | None
    tunnel: tunnels.Wish | None
    command: str | None
    patience: int


def _new_name(fields: parsing.Fields) -> str | None:
    name = fields.text("name")
    if name is None:
        return None
    if not _NO_CONTROL.fullmatch(name) or name != name.strip() or name in {".", ".."}:
        raise invalid("name", "at most 255 characters, no control characters, no blanks around them, not . or ..")
    if looks_like_id(name):
        raise invalid("name", "a name that does not look like an id")
    return name


def _refuse_what_is_not_here(fields: parsing.Fields, *, durable: bool) -> None:
    """Refuse what would have no effect."""
    if durable:
        # Nothing of this server survives its end.
        raise unsupported(
            "durable: VMs are durable only where the embedded backend has a state directory (state)", "durability"
        )
    if fields.boolean("nestedvirt"):
        raise unsupported("nestedvirt: VMs of the embedded backend run no VMs", "nested_virtualization")
    layers = fields.raw("layers")
    if layers is not None:
        if not isinstance(layers, list) or not layers or not all(layer in ("disk", "memory") for layer in layers):  # pyright: ignore[reportUnknownVariableType]
            raise invalid("layers", "a list of disk and memory")
        if "disk" not in layers:
            raise invalid("layers", "disk among them")
        if "memory" in layers:
            raise unsupported("layers: the embedded backend copies no processes: leave it out, or ask for disk")
    platforms = fields.texts("platforms")
    if platforms and not set(platforms) & set(PLATFORMS):
        message = f"platforms: the embedded backend runs on {' and '.join(PLATFORMS)} only"
        details = {"reason": "platform_mismatch", "feature": "platform"}
        raise ServiceError("unsupported_operation", message, details=details)
    credentials = fields.object("registry_auth", "RegistryAuth")
    if credentials is not None:
        credentials.required_text("username")
        credentials.required_text("password")
        raise unsupported("registry_auth: the embedded backend asks no registry")
    changes.refuse_keys_and_pools(fields)


def _parse(backend: Backend, fields: parsing.Fields) -> _Wish:
    source = sources.parse(fields)
    tunnel = fields.object("tunnel", "TunnelRequest")
    durable = fields.boolean("durable") or False
    _refuse_what_is_not_here(fields, durable=durable and not backend.keeper.lasting)
    network = networks.parse(fields)
    if network is not None and fields.raw("policies") is not None:
        raise invalid("network, policies", "one of them")
    return _Wish(
        source=source,
        name=_new_name(fields),
        description=changes.parse_description(fields),
        public=fields.boolean("public") or False,
        network=network,
        fields=fields,
        disk=fields.boolean("disk"),
        durable=durable,
        sizes=parsing.sizes(fields),
        max_memory_mib=fields.integer("max_memory_mib", minimum=1, maximum=parsing.SIZE_MAXIMUM),
        tunnel=None if tunnel is None else tunnels.parse(tunnel),
        command=fields.text("command"),
        patience=fields.integer("queueing_timeout", minimum=0) or 0,
    )


def _policy(backend: Backend, wish: _Wish, source: Golden | VmRecord) -> tuple[NetworkJson, policies.Rules | None]:
    """Return where the new VM may go, and the rules that say so."""
    network = source.network if isinstance(source, VmRecord) else source.network()
    rules = source.rules if isinstance(source, VmRecord) else policies.rules_of(network)
    if wish.network is not None:
        network, rules = wish.network, policies.rules_of(wish.network)
    else:
        changed = policies.parse(wish.fields, rules)
        if changed is not None:
            network, rules = policies.network_of(backend, changed), changed
            networks.require_enforceable(backend, network, asked=True)
    networks.require_enforceable(backend, network, asked=wish.network is not None)
    return network, rules


async def fork(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    key = parsing.idempotency_key(backend, request)
    body = await parsing.read_object(request, backend.generation.longest_fork)
    scope: Scope | None = None
    digest = b""
    if key is not None:
        scope = (org.org_id, "POST", request.rel_url.raw_path, key)
        digest = fingerprint(body)
        known = backend.ledger.find(scope, digest, "conflict")
        if known is not None:
            return _forked(backend, request, await _earlier(backend, known))
    wish = _parse(backend, parsing.body_of(backend, "ForkRequest", body))
    source = sources.find(backend, org, wish.source)
    trace_of(request).source_vm_id = source.name if isinstance(source, Golden) else source.vm_id
    if wish.disk and not source.disk and not backend.generation.flat_disk:
        raise unsupported("disk: the source has no disk", "diskless")
    network, rules = _policy(backend, wish, source)
    if wish.name is not None and (wish.name in org.names or find_golden(wish.name) is not None):
        raise taken("vm", f"name: {wish.name!r} is taken")
    now = backend.clock.now_ms()
    burst = is_burst_reference(source.name if isinstance(source, Golden) else source.vm_id)
    vm_id = new_burst_id(now) if burst else new_ulid(now)
    entry = None if scope is None else backend.ledger.open(scope, digest, f"fork {vm_id}")
    if wish.name is not None:
        org.names[wish.name] = None  # the name is taken from now on
    try:
        with backend.changing(org):
            vm = await _create_patiently(backend, org, wish, source, vm_id, network, rules, Key.of(scope, entry))
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
            lack = from_lack(error)
            if lack is None:
                logger.exception("the fork %s failed", vm_id)
            refusal = lack or ServiceError("internal", "the VM could not be made")
        if scope is not None and entry is not None:
            backend.ledger.refuse(scope, entry, refusal)
        raise refusal from None
    backend.journal.note_fork(vm, source.name if isinstance(source, Golden) else source.vm_id, key)
    if scope is not None and entry is not None:
        backend.ledger.settle(entry, vm)
        backend.ledger.complete(scope, entry)
    return _forked(backend, request, vm)


async def _earlier(backend: Backend, known: Entry) -> VmRecord:
    """Return the VM that was made under a key."""
    if not known.settled.is_set() and not backend.generation.waits_for_keys:
        message = "the fork under this Idempotency-Key is still going on"
        raise ServiceError("unavailable", message, retry_after=1)
    vm: VmRecord = await known.outcome()
    if vm.deleted and backend.generation.new:
        raise missing("vm", f"the VM {vm.vm_id} that was made under this Idempotency-Key has been deleted")
    return vm


def _forked(backend: Backend, request: web.Request, vm: VmRecord) -> web.Response:
    trace_of(request).note_vm(vm)
    return replies.json_response(replies.vm_json(backend.generation, vm, made=True))


async def _create_patiently(
    backend: Backend,
    org: Organisation,
    wish: _Wish,
    source: Golden | VmRecord,
    vm_id: str,
    network: NetworkJson,
    rules: policies.Rules | None,
    key: Key | None,
) -> VmRecord:
    """Make the VM. While the machine lacks resources, it is tried again for as long as the request may wait."""
    end = time.monotonic() + wish.patience
    while True:
        try:
            return await _create(backend, org, wish, source, vm_id, network, rules, key)
        except (SandboxError, OSError, MemoryError) as error:
            lacking = error.code == "resource_pressure" if isinstance(error, SandboxError) else from_lack(error)
            if not lacking or time.monotonic() + execution.PAUSE > end:
                raise
        await asyncio.sleep(execution.PAUSE)


async def _create(
    backend: Backend,
    org: Organisation,
    wish: _Wish,
    source: Golden | VmRecord,
    vm_id: str,
    network: NetworkJson,
    rules: policies.Rules | None,
    key: Key | None,
) -> VmRecord:
    parent = source if isinstance(source, VmRecord) else None
    # A fork starts in its parent's current state, including the state of the default session.
    cwd, env = (HOME, {}) if parent is None else (parent.session.cwd, dict(parent.session.env))
    changeable = wish.fields.raw("policies") is not None or (parent is not None and parent.outlet is not None)
    outlet = networks.outlet(backend, network, changeable=changeable and wish.network is None)
    sandbox = await backend.provider.create(vm_id, source=None if parent is None else parent.sandbox, outlet=outlet)
    if parent is not None and env:
        env = carry_over(env, parent.sandbox.initial_env, sandbox.initial_env)
    now = backend.clock.now_ms()
    root_id, root_name = None, None
    if parent is not None:
        root_id, root_name = parent.root_id or parent.vm_id, parent.root_name if parent.root_id else parent.name
    session = SessionRecord(
        session_id=new_ulid(now), seq=backend.next_number(), index=0, started_ms=now, cwd=cwd, env=env
    )
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
        rules=rules,
        outlet=outlet,
        disk=(wish.disk is None or wish.disk) and source.disk,
        vcpu_count=source.vcpu_count,
        memory_mib=source.memory_mib,
        max_memory_mib=wish.max_memory_mib,
        disk_mib=source.disk_mib,
        description=wish.description,
        durable=wish.durable,
        last_active_ms=now,
        sandbox=sandbox,
        sessions={session.session_id: session},
    )
    vm.resize(wish.sizes.vcpu_count, wish.sizes.memory_mib, wish.sizes.disk_mib)
    try:
        if parent is not None and parent.syncs:
            filesystems.inherit(backend, parent, vm)
            await filesystems.apply(vm)
        backend.require_current(org)
        if wish.tunnel is not None:
            tunnels.open_tunnel(backend, vm, wish.tunnel, with_vm=True)
        run = None if wish.command is None else execution.new_run(backend, vm, session, command=wish.command)
        backend.keeper.add_vm(vm, key, run)
    except BaseException:
        tunnels.close_all(vm)
        await asyncio.shield(sandbox.delete())
        raise
    org.vms[vm_id] = vm
    if wish.name is not None:
        org.names[wish.name] = vm
    if run is not None:
        execution.begin(backend, run, None)
    return vm


__all__ = ["fork"]
