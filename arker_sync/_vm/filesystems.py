# Generated from arker/_vm/filesystems.py by "nox -s facade": change that file, not this one.
"""Filesystems that are bound into a VM: mounts, which generation 0.5 calls syncs. A part of `VM`."""

from __future__ import annotations

import arker_sync
from arker import models
from arker_sync._vm.base import VmBase


class Filesystems(VmBase):
    """The mount methods of `VM`."""

    def create_mount(
        self, *, filesystem_id: str, path: str | None = None, deadline: float | None = None
    ) -> models.Mount:
        """Bind a filesystem into this VM. In state ``attaching``, the VM sees it from its next start on.

        Args:
            filesystem_id: The filesystem.
            path: Path in the VM; by default the server chooses it.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            ConflictError: Another filesystem is bound at this path.
            NotFoundError: There is no such filesystem.
        """
        work = self._async.create_mount(filesystem_id=filesystem_id, path=path, deadline=deadline)
        return self._lease.call(work)

    def list_mounts(
        self,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        filesystem_id: str | None = None,
        deadline: float | None = None,
    ) -> models.ListMountsResponse:
        """List one page of the filesystems that are bound into this VM, newest first.

        Args:
            cursor: Cursor of the page to fetch: ``next_cursor`` of the previous page.
            limit: Maximum number of mounts on the page; the server's default is 50, its maximum 1,000.
            filesystem_id: Only mounts of this filesystem.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            BadRequestError: The cursor does not belong to this list.
        """
        work = self._async.list_mounts(cursor=cursor, limit=limit, filesystem_id=filesystem_id, deadline=deadline)
        return self._lease.call(work)

    def iter_mounts(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        filesystem_id: str | None = None,
        deadline: float | None = None,
    ) -> arker_sync.Items[models.Mount]:
        """Iterate over the filesystems that are bound into this VM, newest first. Pages are fetched on demand.

        Args:
            cursor: Cursor of the first page: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Number of mounts per page; the server's default is 50, its maximum 1,000.
            filesystem_id: Only mounts of this filesystem.
            deadline: Seconds for each page; None for no limit.

        Raises:
            BadCursorError: The server rejected a cursor; the error says where to resume.
        """
        iterator = self._async.iter_mounts(
            cursor=cursor, page_size=page_size, filesystem_id=filesystem_id, deadline=deadline
        )
        return arker_sync.Items(iterator, self._lease)

    def delete_mount(self, mount_id: str, *, deadline: float | None = None) -> models.DeleteMountResponse:
        """Unbind a filesystem from this VM. Its files stay in the filesystem.

        Args:
            mount_id: The mount's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such mount in this VM.
        """
        work = self._async.delete_mount(mount_id, deadline=deadline)
        return self._lease.call(work)

    # --- the same by the names of generation 0.5 ---------------------------------------------------------------------

    def create_sync(self, *, filesystem_id: str, path: str | None = None, deadline: float | None = None) -> models.Sync:
        """Bind a filesystem into this VM. The same as `create_mount`, by the names of generation 0.5.

        If the reply's ``live`` is False, the VM sees it from its next start on.

        Args:
            filesystem_id: The filesystem.
            path: Path in the VM; by default the server chooses it.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            ConflictError: Another filesystem is bound at this path.
            NotFoundError: There is no such filesystem.
        """
        work = self._async.create_sync(filesystem_id=filesystem_id, path=path, deadline=deadline)
        return self._lease.call(work)

    def list_syncs(
        self,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        filesystem_id: str | None = None,
        deadline: float | None = None,
    ) -> models.ListSyncsResponse:
        """List one page of the filesystems that are bound into this VM, as `list_mounts` does.

        Args:
            cursor: Cursor of the page to fetch: ``next_cursor`` of the previous page.
            limit: Maximum number of syncs on the page; the server's default is 50, its maximum 1,000.
            filesystem_id: Only syncs of this filesystem.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            BadRequestError: The cursor does not belong to this list.
        """
        work = self._async.list_syncs(cursor=cursor, limit=limit, filesystem_id=filesystem_id, deadline=deadline)
        return self._lease.call(work)

    def iter_syncs(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        filesystem_id: str | None = None,
        deadline: float | None = None,
    ) -> arker_sync.Items[models.Sync]:
        """Iterate over the filesystems that are bound into this VM, as `iter_mounts` does.

        Args:
            cursor: Cursor of the first page: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Number of syncs per page; the server's default is 50, its maximum 1,000.
            filesystem_id: Only syncs of this filesystem.
            deadline: Seconds for each page; None for no limit.

        Raises:
            BadCursorError: The server rejected a cursor; the error says where to resume.
        """
        iterator = self._async.iter_syncs(
            cursor=cursor, page_size=page_size, filesystem_id=filesystem_id, deadline=deadline
        )
        return arker_sync.Items(iterator, self._lease)

    def delete_sync(self, sync_id: str, *, deadline: float | None = None) -> models.DeleteSyncResponse:
        """Unbind a filesystem from this VM, as `delete_mount` does.

        Args:
            sync_id: The sync's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such sync in this VM.
        """
        work = self._async.delete_sync(sync_id, deadline=deadline)
        return self._lease.call(work)


__all__ = ["Filesystems"]
