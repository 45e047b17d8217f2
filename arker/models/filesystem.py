"""Filesystems, and mounts: filesystems bound into VMs. Generation 0.5 calls mounts syncs."""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import field, frozen

from arker.models import _checks as check
from arker.models._page import Page
from arker.models._reply import Reply, declared
from arker.models.vm import Provider


@frozen(kw_only=True)
class Filesystem(Reply):
    """A directory tree that outlives VMs and can be bound into several of them.

    Attributes:
        filesystem_id: The filesystem's id.
        name: Its name, unique in the organisation.
        owner_org_id: The organisation that owns it.
        created_at: Time of the creation (RFC 3339, UTC).
        size_bytes: Total size of its files in bytes; None if the server does not report it.
        region: Its region.
        provider: ``aws`` or ``aws-burst``; an unknown provider is kept unchanged.
    """

    filesystem_id: str
    name: str | None = declared()
    owner_org_id: str | None = declared()
    created_at: str | None = declared()
    size_bytes: int | None = None
    region: str = "us-west-2"
    provider: Provider | str = "aws"


@frozen(kw_only=True)
class ListFilesystemsResponse(Page[Filesystem], Reply):
    """A page of filesystems, newest first. There are more pages while ``next_cursor`` is set."""

    filesystems: tuple[Filesystem, ...]
    next_cursor: str | None = None

    def _items(self) -> tuple[Filesystem, ...]:
        return self.filesystems


@frozen(kw_only=True)
class FilesystemCreateRequest:
    """The request of `POST /v1/filesystems`.

    Attributes:
        name: The filesystem's name, unique in the organisation.
    """

    name: str = field(validator=check.name)


@frozen(kw_only=True)
class DeleteFilesystemResponse(Reply):
    """The reply to the deletion of a filesystem."""

    deleted: bool = declared(True)


MountState: TypeAlias = Literal["attaching", "mounted", "failed"]


@frozen(kw_only=True)
class Mount(Reply):
    """A filesystem bound into a VM.

    Attributes:
        mount_id: The mount's id.
        vm_id: The VM.
        filesystem_id: The filesystem.
        path: Path in the VM that it is bound at.
        state: ``attaching`` (the VM sees it from its next start on), ``mounted`` or ``failed``; None if the server does
            not report it; an unknown state is kept unchanged.
        state_detail: Why the VM does not see it.
        region: Its region.
        provider: Its provider; None in generation 1.
        created_at: Time of the binding (RFC 3339, UTC); None in generation 1.
        filesystem_name: The filesystem's name; None in generation 1.
    """

    mount_id: str
    vm_id: str | None = declared()
    filesystem_id: str | None = declared()
    path: str | None = declared()
    state: MountState | str | None = None
    state_detail: str | None = None
    region: str | None = None
    provider: Provider | str | None = None
    created_at: str | None = None
    filesystem_name: str | None = None


@frozen(kw_only=True)
class ListMountsResponse(Page[Mount], Reply):
    """A page of a VM's mounts, newest first. There are more pages while ``next_cursor`` is set."""

    mounts: tuple[Mount, ...]
    next_cursor: str | None = None

    def _items(self) -> tuple[Mount, ...]:
        return self.mounts


@frozen(kw_only=True)
class MountCreateRequest:
    """The request of `POST /v1/vms/{id}/mounts`.

    Attributes:
        filesystem_id: The filesystem to bind.
        path: Path in the VM; the server chooses it if absent.
    """

    filesystem_id: str = field(validator=check.identifier)
    path: str | None = field(default=None, validator=check.optional(check.text))


@frozen(kw_only=True)
class DeleteMountResponse(Reply):
    """The reply to unbinding a filesystem from a VM."""

    deleted: bool = declared(True)


@frozen(kw_only=True)
class Sync(Reply):
    """A filesystem bound into a VM, as generation 0.5 describes it; `Mount` is the description of today.

    Attributes:
        sync_id: The sync's id.
        vm_id: The VM.
        filesystem_id: The filesystem.
        path: Path in the VM that it is bound at.
        created_at: Time of the binding (RFC 3339, UTC); None in generation 1.
        vm_name: The VM's name.
        filesystem_name: The filesystem's name.
        live: Whether the VM sees it already; if False, the VM sees it from its next start on.
        live_error: Why the VM does not see it yet.
        idempotent: Whether the same sync existed before.
    """

    sync_id: str
    vm_id: str | None = declared()
    filesystem_id: str | None = declared()
    path: str | None = declared()
    created_at: str | None = None
    vm_name: str | None = None
    filesystem_name: str | None = None
    source_org_id: str | None = None
    region: str | None = None
    provider: Provider | str | None = None
    live: bool | None = None
    live_error: str | None = None
    idempotent: bool | None = None


@frozen(kw_only=True)
class ListSyncsResponse(Page[Sync], Reply):
    """A page of a VM's syncs, newest first. There are more pages while ``next_cursor`` is set."""

    syncs: tuple[Sync, ...]
    next_cursor: str | None = None

    def _items(self) -> tuple[Sync, ...]:
        return self.syncs


@frozen(kw_only=True)
class SyncCreateRequest:
    """The request of `POST /v1/vms/{id}/syncs`.

    Attributes:
        filesystem_id: The filesystem to bind.
        path: Path in the VM; the server chooses it if absent.
    """

    filesystem_id: str = field(validator=check.identifier)
    path: str | None = field(default=None, validator=check.optional(check.text))


@frozen(kw_only=True)
class DeleteSyncResponse(Reply):
    """The reply to unbinding a filesystem from a VM."""

    deleted: bool = declared(True)


__all__ = [
    "DeleteFilesystemResponse",
    "DeleteMountResponse",
    "DeleteSyncResponse",
    "Filesystem",
    "FilesystemCreateRequest",
    "ListFilesystemsResponse",
    "ListMountsResponse",
    "ListSyncsResponse",
    "Mount",
    "MountCreateRequest",
    "MountState",
    "Sync",
    "SyncCreateRequest",
]
