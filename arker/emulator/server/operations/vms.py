"""The operations on VMs: list, get, change, delete."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web
from attrs import frozen

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.server import parsing, replies
from arker.emulator.server.backend import Backend, logger
from arker.emulator.server.errors import ServiceError, from_sandbox, invalid
from arker.emulator.server.goldens import CATALOGUE, GOLDEN_ORG_ID, PLATFORMS, Golden
from arker.emulator.server.operations import changes, execution, networks, policies, terminals, tunnels, uploads
from arker.emulator.server.records import Organisation, VmRecord

_PAUSE = 5.0  # seconds, before what could not be removed is tried again


async def get_vm(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    reference = request.match_info["vm_id"]
    golden = backend.golden(reference)
    if golden is not None:
        return replies.json_response(_described(backend, golden))
    return replies.json_response(replies.vm_json(backend.generation, backend.vm(org, reference)))


def _described(backend: Backend, golden: Golden) -> dict[str, Any]:
    return replies.golden_json(backend.generation, golden, region=backend.options.region, created_ms=backend.started_ms)


async def resize(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    """Resize a VM. The numbers are only recorded and reported; the real resources are this machine's."""
    fields = await parsing.read_fields(backend, "ResizeRequest", request)
    vm = backend.usable_vm(org, request.match_info["vm_id"])
    wanted = parsing.sizes(fields)
    if not wanted.any:
        raise invalid("vcpu_count, memory_mib, disk_mib", "at least one of them")
    with backend.keeper.changing(vm):
        vm.resize(wanted.vcpu_count, wanted.memory_mib, wanted.disk_mib)
    return replies.json_response({"resized": True})


async def update_vm(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    """Change a VM: all that is asked for, or nothing."""
    fields = await parsing.read_fields(backend, "PatchVmRequest", request)
    immutable = fields.boolean("immutable")
    if immutable is not None and (not immutable or len(fields.items()) > 1):
        raise invalid("immutable", "true, and nothing else beside it")
    description, wanted = changes.parse_description(fields), parsing.sizes(fields)
    changes.refuse_keys_and_pools(fields)
    vm = backend.usable_vm(org, request.match_info["vm_id"])
    if immutable and vm.state == "running":
        raise ServiceError("resource_busy", "immutable: something is running in the VM", resource="vm")
    rules = policies.parse(fields, vm.rules)
    network = vm.network if rules is None else policies.check(backend, vm, rules)
    with backend.keeper.changing(vm):
        if rules is not None:
            vm.network, vm.rules = network, rules
        if fields.has("description"):
            vm.description = description
        vm.resize(wanted.vcpu_count, wanted.memory_mib, wanted.disk_mib)
        vm.immutable = vm.immutable or bool(immutable)
    if rules is not None:
        networks.change(vm, network)
    return replies.json_response(replies.vm_json(backend.generation, vm))


async def delete_vm(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    vm = backend.vm(org, request.match_info["vm_id"])
    # Remove it from the records first: from now on no request finds it.
    backend.keeper.forget_vm(vm)
    vm.deleted = True
    del org.vms[vm.vm_id]
    if vm.name is not None:
        del org.names[vm.name]
    tunnels.close_all(vm)
    terminals.discard_all(vm, "the VM was deleted")
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


@frozen
class _Template:
    """A golden in a list of VMs."""

    seq: int
    golden: Golden
    vm_id: str
    state: str = "idle"
    public: bool = True


def _visible(backend: Backend, org: Organisation, owners: frozenset[str] | None) -> Iterable[VmRecord | _Template]:
    """Return the caller's VMs, or with the filter, the public VMs of the named organisations."""
    if owners is None:
        return reversed(org.vms.values())
    listed: list[list[VmRecord | _Template]] = [
        [vm for vm in reversed(owner.vms.values()) if owner is org or vm.public]
        for owner in backend.organisations.values()
        if owner.org_id in owners
    ]
    if GOLDEN_ORG_ID in owners and backend.generation.new:
        listed.append([_Template(-number, golden, golden.name) for number, golden in enumerate(CATALOGUE)])
    return heapq.merge(*listed, key=lambda vm: -vm.seq)


def _wanted(backend: Backend, query: Mapping[str, str]) -> Callable[[VmRecord | _Template], bool]:
    speaks = backend.generation
    regions = parsing.query_choices(query, "region")
    providers = parsing.query_choices(query, "provider")
    platforms = parsing.query_choices(query, "platform") if speaks.new else None
    states = parsing.query_choices(query, "state", ("idle", "running"))
    public = parsing.query_boolean(query, "public") if speaks.new else None
    after = parsing.query_instant(query, speaks.spelled(query, "started_after", "created_after"))
    before = parsing.query_instant(query, speaks.spelled(query, "started_before", "created_before"))
    pooled = speaks.new and "pool_id" in query

    def wanted(vm: VmRecord | _Template) -> bool:
        if isinstance(vm, VmRecord):
            region, provider, created_ms = vm.region, vm.provider, vm.created_ms
        else:
            region, provider, created_ms = backend.options.region, vm.golden.provider, backend.started_ms
        return (
            (regions is None or region in regions)
            and (providers is None or provider in providers)
            and (states is None or vm.state in states)
            and (public is None or vm.public == public)
            and (platforms is None or not platforms.isdisjoint(PLATFORMS))
            and not pooled
            and (after is None or created_ms > after)
            and (before is None or created_ms < before)
        )

    return wanted


async def list_vms(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    query, speaks = request.query, backend.generation
    owners = parsing.query_choices(query, speaks.spelled(query, "source_org_id", "org_id"))
    vms, cursor = backend.cursors.page(
        f"vms {org.org_id}",
        _visible(backend, org, owners),
        cursor=query.get("cursor"),
        limit=parsing.query_limit(backend, query),
        wanted=_wanted(backend, query),
    )
    listed = [
        replies.vm_json(speaks, vm, listed=True, own=vm.org_id == org.org_id)
        if isinstance(vm, VmRecord)
        else _described(backend, vm.golden)
        for vm in vms
    ]
    body: dict[str, Any] = {"vms": listed}
    if cursor is not None:
        body["next_cursor"] = cursor
    return replies.json_response(body)


__all__ = ["delete_vm", "get_vm", "list_vms", "resize", "update_vm"]
