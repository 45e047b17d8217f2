"""The operations on filesystems, and on filesystems bound into VMs: syncs, which generation 1 calls mounts.

A VM sees a filesystem at once when nothing is going on in it (it is restarted at its next use); otherwise from its
next start on, which comes with its first use after it has become idle. Taking a filesystem out goes the same way. A
fork in the same organisation has its parent's filesystems at the same places: the filesystems themselves, no copies.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from aiohttp import web

from arker.emulator.sandbox.base import HOME, SandboxError
from arker.emulator.server import parsing, replies
from arker.emulator.server.backend import Backend, logger
from arker.emulator.server.errors import ServiceError, from_sandbox, invalid, missing, taken, unsupported
from arker.emulator.server.ids import new_ulid
from arker.emulator.server.records import FilesystemRecord, Organisation, SyncRecord, VmRecord

_NAME: Final = re.compile(r"[^\x00-\x1f\x7f/]+")
_PATH: Final = re.compile(r"(/[^\x00-\x1f\x7f/]+)+")

# No filesystem may be at these paths, nor below those of the second group.
_TAKEN: Final = frozenset(
    ("/home", HOME, "/tmp", "/var", "/var/tmp", "/run", "/root", "/mnt", "/opt", "/srv")  # noqa: S108
)
_SYSTEM: Final = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "proc", "dev", "sys", "etc", "boot")


# --- filesystems ---


def _new_name(fields: parsing.Fields) -> str:
    name = fields.required_text("name")
    fits = _NAME.fullmatch(name) and name == name.strip() and name not in {".", ".."} and len(name.encode()) <= 255
    if not fits:
        raise invalid("name", "at most 255 bytes, no '/', no control characters, no blanks around them, not . or ..")
    return name


def _find(org: Organisation, filesystem_id: str) -> FilesystemRecord:
    filesystem = org.filesystems.get(filesystem_id)
    if filesystem is None:
        raise missing("filesystem", f"there is no filesystem {filesystem_id!r}")
    return filesystem


async def create_filesystem(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    name = _new_name(await parsing.read_fields(backend, "FilesystemCreateRequest", request))
    with backend.changing(org):
        return replies.json_response(replies.filesystem_json(await _create(backend, org, name), 0))


async def _create(backend: Backend, org: Organisation, name: str) -> FilesystemRecord:
    if name in org.filesystem_names:
        raise taken("filesystem", f"there is a filesystem {name!r} already")
    now = backend.clock.now_ms()
    filesystem_id = new_ulid(now)
    org.filesystem_names.add(name)
    try:
        volume = await backend.provider.create_volume(filesystem_id)
    except BaseException as error:
        org.filesystem_names.discard(name)
        if isinstance(error, SandboxError):
            raise from_sandbox(error) from None
        raise
    if org.over:
        await volume.remove()
        backend.require_current(org)
    filesystem = FilesystemRecord(
        filesystem_id=filesystem_id,
        seq=backend.next_number(),
        org_id=org.org_id,
        name=name,
        created_ms=now,
        region=backend.options.region,
        volume=volume,
    )
    try:
        backend.keeper.add_filesystem(filesystem)
    except ServiceError:
        org.filesystem_names.discard(name)
        await volume.remove()
        raise
    org.filesystems[filesystem_id] = filesystem
    return filesystem


async def _described(backend: Backend, filesystem: FilesystemRecord) -> dict[str, Any]:
    size: int | None = None
    try:
        async with backend.measurements:
            size = await filesystem.volume.size()
    except SandboxError as error:
        logger.debug("filesystem %s could not be measured: %s", filesystem.filesystem_id, error)
    return replies.filesystem_json(filesystem, size)


async def get_filesystem(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    filesystem = _find(org, request.match_info["filesystem_id"])
    return replies.json_response(await _described(backend, filesystem))


async def list_filesystems(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    prefix = request.query.get("name_prefix", "")
    found, cursor = backend.cursors.page(
        f"filesystems {org.org_id}",
        reversed(org.filesystems.values()),
        cursor=request.query.get("cursor"),
        limit=parsing.query_limit(backend, request.query),
        wanted=lambda filesystem: filesystem.name.startswith(prefix),
    )
    described = await asyncio.gather(*[_described(backend, filesystem) for filesystem in found])
    body: dict[str, Any] = {"filesystems": described}
    if cursor is not None:
        body["next_cursor"] = cursor
    return replies.json_response(body)


async def delete_filesystem(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    filesystem = _find(org, request.match_info["filesystem_id"])
    _require_unbound(backend, org, filesystem)
    try:
        # It may have been removed from a VM that was busy then and is idle now.
        for vm in [vm for vm in org.vms.values() if vm.sandbox.holds(filesystem.volume)]:
            await apply(vm)
    except SandboxError as error:
        logger.debug("a VM could not let go of filesystem %s: %s", filesystem.filesystem_id, error)
    _require_unbound(backend, org, filesystem)
    for vm in org.vms.values():
        if vm.sandbox.holds(filesystem.volume):
            raise _in_use(backend, f"what is going on in VM {vm.vm_id} has the filesystem still")
    backend.require_current(org)
    if filesystem.deleted:
        raise missing("filesystem", f"there is no filesystem {filesystem.filesystem_id!r}")
    backend.keeper.forget_filesystem(filesystem)
    filesystem.deleted = True
    del org.filesystems[filesystem.filesystem_id]
    org.filesystem_names.discard(filesystem.name)
    try:
        with backend.changing(org):
            await filesystem.volume.remove()
    except SandboxError as error:
        raise from_sandbox(error) from None
    return replies.json_response({"deleted": True})


def _in_use(backend: Backend, message: str) -> ServiceError:
    """Return the error for a filesystem that cannot be deleted; generation 1 declares no conflict there."""
    if backend.generation.old:
        return ServiceError("conflict", message, resource="filesystem")
    return unsupported(message, "shared_filesystem")


def _require_unbound(backend: Backend, org: Organisation, filesystem: FilesystemRecord) -> None:
    for vm in org.vms.values():
        if any(sync.filesystem is filesystem for sync in vm.syncs.values()):
            raise _in_use(backend, f"the filesystem is bound into VM {vm.vm_id}: delete that sync or mount first")


# --- syncs ---


def _target(fields: parsing.Fields, filesystem: FilesystemRecord) -> str:
    """Return the filesystem's path in the VM: ``/mnt/{name}`` unless a path is given."""
    path = fields.text("path")
    if path is None:
        return f"/mnt/{filesystem.name}"
    parts = path.split("/")[1:]
    if not _PATH.fullmatch(path) or {".", ".."} & set(parts) or len(path.encode()) > 4000:
        raise invalid("path", "an absolute path without empty parts, '.', '..' and a '/' at the end")
    if any(len(part.encode()) > 255 for part in parts):
        raise invalid("path", "parts of at most 255 bytes")
    if path in _TAKEN or parts[0] in _SYSTEM:
        raise invalid("path", "a place that the VM does not need for itself, such as one below /mnt or the home")
    return path


def _touch(one: str, other: str) -> bool:
    """Return whether one path is the other or lies below it, in either direction."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


async def apply(vm: VmRecord) -> None:
    """Apply the VM's bindings to its sandbox. Raises `SandboxError`."""
    await vm.sandbox.bind({sync.path: sync.filesystem.volume for sync in vm.syncs.values()})


def inherit(backend: Backend, parent: VmRecord, child: VmRecord) -> None:
    """Copy a parent's syncs to its fork, except those of another organisation's filesystems."""
    if parent.org_id == child.org_id:
        for sync in parent.syncs.values():
            if not sync.filesystem.deleted:
                _add(backend, child, sync.filesystem, sync.path)


def _add(backend: Backend, vm: VmRecord, filesystem: FilesystemRecord, path: str) -> SyncRecord:
    now = backend.clock.now_ms()
    sync = SyncRecord(
        sync_id=new_ulid(now), seq=backend.next_number(), filesystem=filesystem, path=path, created_ms=now
    )
    vm.syncs[sync.sync_id] = sync
    return sync


async def _bind(
    backend: Backend, org: Organisation, request: web.Request, shape: str
) -> tuple[VmRecord, SyncRecord, bool]:
    """Bind a filesystem into a VM. Returns whether it was bound there before."""
    fields = await parsing.read_fields(backend, shape, request)
    vm = backend.usable_vm(org, request.match_info["vm_id"])
    filesystem = _find(org, fields.required_text("filesystem_id"))
    path = _target(fields, filesystem)
    known: SyncRecord | None = None
    for other in vm.syncs.values():
        if other.path == path and other.filesystem is filesystem:
            known = other
        elif _touch(other.path, path):
            message = f"a filesystem is bound at {other.path} already"
            raise ServiceError("conflict", message, resource="mount")
    sync = known or _add(backend, vm, filesystem, path)
    try:
        await apply(vm)
        if known is None:
            backend.keeper.save_vm(vm)
    except (SandboxError, ServiceError) as error:
        if known is None:
            vm.syncs.pop(sync.sync_id, None)
            with suppress(SandboxError):
                await apply(vm)
        raise (from_sandbox(error) if isinstance(error, SandboxError) else error) from None
    return vm, sync, known is not None


async def create_sync(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    vm, sync, known = await _bind(backend, org, request, "SyncCreateRequest")
    return replies.json_response(replies.sync_json(vm, sync, idempotent=known))


async def create_mount(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    vm, sync, _ = await _bind(backend, org, request, "MountCreateRequest")
    return replies.json_response(replies.mount_json(vm, sync))


def _page(
    backend: Backend,
    org: Organisation,
    request: web.Request,
    member: str,
    shown: Callable[[VmRecord, SyncRecord], dict[str, Any]],
) -> web.Response:
    vm = backend.vm(org, request.match_info["vm_id"])
    wanted = request.query.get("filesystem_id")
    syncs, cursor = backend.cursors.page(
        f"syncs {vm.vm_id}",
        reversed(vm.syncs.values()),
        cursor=request.query.get("cursor"),
        limit=parsing.query_limit(backend, request.query),
        wanted=lambda sync: wanted is None or sync.filesystem.filesystem_id == wanted,
    )
    body: dict[str, Any] = {member: [shown(vm, sync) for sync in syncs]}
    if cursor is not None:
        body["next_cursor"] = cursor
    return replies.json_response(body)


async def list_syncs(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    return _page(backend, org, request, "syncs", replies.sync_json)


async def list_mounts(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    return _page(backend, org, request, "mounts", replies.mount_json)


async def _unbind(backend: Backend, org: Organisation, request: web.Request, noun: str) -> web.Response:
    vm = backend.usable_vm(org, request.match_info["vm_id"])
    sync_id = request.match_info[f"{noun}_id"]
    sync = vm.syncs.pop(sync_id, None)
    if sync is None:
        raise missing(noun, f"there is no {noun} {sync_id!r}")
    try:
        backend.keeper.save_vm(vm)
    except ServiceError:
        vm.syncs[sync_id] = sync
        raise
    try:
        await apply(vm)
    except SandboxError as error:
        raise from_sandbox(error) from None
    return replies.json_response({"deleted": True})


async def delete_sync(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    return await _unbind(backend, org, request, "sync")


async def delete_mount(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    return await _unbind(backend, org, request, "mount")


__all__ = [
    "apply",
    "create_filesystem",
    "create_mount",
    "create_sync",
    "delete_filesystem",
    "delete_mount",
    "delete_sync",
    "get_filesystem",
    "inherit",
    "list_filesystems",
    "list_mounts",
    "list_syncs",
]
