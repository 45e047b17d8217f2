"""Calls on filesystems, and on their syncs into VMs (contract, section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from arker import models
from arker._protocol import routes
from arker._protocol.calls.shared import create, delete, get
from arker._protocol.queries import PageQuery, text
from arker._protocol.request import Address, Call

if TYPE_CHECKING:
    from arker.models import (
        DeleteFilesystemResponse,
        DeleteSyncResponse,
        Filesystem,
        FilesystemCreateRequest,
        ListFilesystemsResponse,
        ListSyncsResponse,
        Sync,
        SyncCreateRequest,
    )


@frozen(kw_only=True)
class SyncsQuery(PageQuery):
    """The query of a VM's syncs."""

    filesystem_id: str | None = text()


@frozen(kw_only=True)
class FilesystemsQuery(PageQuery):
    """The query of filesystems."""

    name_prefix: str | None = text()


_SYNC: Final = ("sync_id",)


_FILESYSTEM: Final = ("filesystem_id",)


def list_syncs(at: Address, query: SyncsQuery) -> Call[ListSyncsResponse]:
    return get(
        "vm.list_syncs",
        at.base_url,
        routes.bindings(at.vm_id),
        models.ListSyncsResponse,
        ("syncs",),
        query,
        vm_id=at.vm_id,
    )


def create_sync(at: Address, request: SyncCreateRequest) -> Call[Sync]:
    return create("vm.create_sync", at.base_url, routes.bindings(at.vm_id), request, models.Sync, _SYNC, vm_id=at.vm_id)


def delete_sync(at: Address, sync_id: str) -> Call[DeleteSyncResponse]:
    gone = models.DeleteSyncResponse(deleted=True)
    return delete("vm.delete_sync", at.base_url, routes.binding(at.vm_id, sync_id), gone, vm_id=at.vm_id)


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
    "SyncsQuery",
    "create_filesystem",
    "create_sync",
    "delete_filesystem",
    "delete_sync",
    "get_filesystem",
    "list_filesystems",
    "list_syncs",
]
