"""Calls on filesystems, and on their mounts in VMs, which generation 0.5 calls syncs (contract, section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from attrs import evolve, frozen

from arker import models
from arker._protocol import routes
from arker._protocol.address import Address
from arker._protocol.calls.shared import create, delete, get
from arker._protocol.queries import PageQuery, text
from arker._protocol.request import Call

if TYPE_CHECKING:
    from arker.models import (
        DeleteFilesystemResponse,
        DeleteMountResponse,
        DeleteSyncResponse,
        Filesystem,
        FilesystemCreateRequest,
        ListFilesystemsResponse,
        ListMountsResponse,
        ListSyncsResponse,
        Mount,
        MountCreateRequest,
        Sync,
        SyncCreateRequest,
    )


T = TypeVar("T")


@frozen(kw_only=True)
class MountsQuery(PageQuery):
    """The query of a VM's mounts."""

    filesystem_id: str | None = text()


@frozen(kw_only=True)
class FilesystemsQuery(PageQuery):
    """The query of filesystems."""

    name_prefix: str | None = text()


_MOUNT: Final = ("mount_id", "sync_id")


_FILESYSTEM: Final = ("filesystem_id",)


def list_mounts(at: Address, query: MountsQuery) -> Call[ListMountsResponse]:
    return _list("vm.list_mounts", at, query, models.ListMountsResponse)


def list_syncs(at: Address, query: MountsQuery) -> Call[ListSyncsResponse]:
    return _list("vm.list_syncs", at, query, models.ListSyncsResponse)


def create_mount(at: Address, request: MountCreateRequest) -> Call[Mount]:
    return _create("vm.create_mount", at, request, models.Mount)


def create_sync(at: Address, request: SyncCreateRequest) -> Call[Sync]:
    return _create("vm.create_sync", at, request, models.Sync)


def delete_mount(at: Address, mount_id: str) -> Call[DeleteMountResponse]:
    return _delete("vm.delete_mount", at, mount_id, models.DeleteMountResponse(deleted=True))


def delete_sync(at: Address, sync_id: str) -> Call[DeleteSyncResponse]:
    return _delete("vm.delete_sync", at, sync_id, models.DeleteSyncResponse(deleted=True))


def _list(operation: str, at: Address, query: MountsQuery, result: type[T]) -> Call[T]:
    today, earlier = (
        get(operation, at.base_url, path, result, ("mounts", "syncs"), query, vm_id=at.vm_id)
        for path in (routes.mounts(at.vm_id), routes.bindings(at.vm_id))
    )
    return evolve(today, earlier=earlier)


def _create(operation: str, at: Address, request: object, result: type[T]) -> Call[T]:
    today, earlier = (
        create(operation, at.base_url, path, request, result, _MOUNT, vm_id=at.vm_id)
        for path in (routes.mounts(at.vm_id), routes.bindings(at.vm_id))
    )
    return evolve(today, earlier=earlier)


def _delete(operation: str, at: Address, mount_id: str, gone: T) -> Call[T]:
    today, earlier = (
        delete(operation, at.base_url, path, gone, vm_id=at.vm_id)
        for path in (routes.mount(at.vm_id, mount_id), routes.binding(at.vm_id, mount_id))
    )
    return evolve(today, earlier=earlier)


def list_filesystems(base_url: str, query: FilesystemsQuery) -> Call[ListFilesystemsResponse]:
    return get(
        "list_filesystems", base_url, routes.FILESYSTEMS, models.ListFilesystemsResponse, ("filesystems",), query
    )


def create_filesystem(base_url: str, request: FilesystemCreateRequest) -> Call[Filesystem]:
    return create("create_filesystem", base_url, routes.FILESYSTEMS, request, models.Filesystem, _FILESYSTEM)


def get_filesystem(base_url: str, filesystem_id: str) -> Call[Filesystem]:
    return get("get_filesystem", base_url, routes.filesystem(filesystem_id), models.Filesystem, _FILESYSTEM)


def delete_filesystem(base_url: str, filesystem_id: str) -> Call[DeleteFilesystemResponse]:
    gone = models.DeleteFilesystemResponse(deleted=True)
    return delete("delete_filesystem", base_url, routes.filesystem(filesystem_id), gone)


__all__ = [
    "FilesystemsQuery",
    "MountsQuery",
    "create_filesystem",
    "create_mount",
    "create_sync",
    "delete_filesystem",
    "delete_mount",
    "delete_sync",
    "get_filesystem",
    "list_filesystems",
    "list_mounts",
    "list_syncs",
]
