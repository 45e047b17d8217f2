"""Filesystems that are bound into a VM: mounts, which generation 0.5 calls syncs. A part of `AsyncVM`."""

from __future__ import annotations

import arker
from arker import models
from arker._protocol.calls import filesystems as filesystem_calls
from arker._protocol.pages import pages_of
from arker._vm.base import VmBase
from arker.models import _checks as check


class Filesystems(VmBase):
    """The mount methods of `AsyncVM`."""

    async def create_mount(
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
        request = models.MountCreateRequest(filesystem_id=filesystem_id, path=path)
        return await self._place.send(filesystem_calls.create_mount(self._place, request), deadline=deadline)

    async def list_mounts(
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
        query = filesystem_calls.MountsQuery(cursor=cursor, limit=limit, filesystem_id=filesystem_id)
        return await self._place.send(filesystem_calls.list_mounts(self._place, query), deadline=deadline)

    def iter_mounts(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        filesystem_id: str | None = None,
        deadline: float | None = None,
    ) -> arker.AsyncItems[models.Mount]:
        """Iterate over the filesystems that are bound into this VM, newest first. Pages are fetched on demand.

        Args:
            cursor: Cursor of the first page: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Number of mounts per page; the server's default is 50, its maximum 1,000.
            filesystem_id: Only mounts of this filesystem.
            deadline: Seconds for each page; None for no limit.

        Raises:
            BadCursorError: The server rejected a cursor; the error says where to resume.
        """
        return pages_of(
            lambda at, size: self.list_mounts(cursor=at, limit=size, filesystem_id=filesystem_id, deadline=deadline),
            lambda page: page.mounts,
            cursor,
            page_size,
        )

    async def delete_mount(self, mount_id: str, *, deadline: float | None = None) -> models.DeleteMountResponse:
        """Unbind a filesystem from this VM. Its files stay in the filesystem.

        Args:
            mount_id: The mount's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such mount in this VM.
        """
        call = filesystem_calls.delete_mount(self._place, check.check_id("mount_id", mount_id))
        return await self._place.send(call, deadline=deadline)

    # --- the same by the names of generation 0.5 ---------------------------------------------------------------------

    async def create_sync(
        self, *, filesystem_id: str, path: str | None = None, deadline: float | None = None
    ) -> models.Sync:
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
        request = models.SyncCreateRequest(filesystem_id=filesystem_id, path=path)
        return await self._place.send(filesystem_calls.create_sync(self._place, request), deadline=deadline)

    async def list_syncs(
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
        query = filesystem_calls.MountsQuery(cursor=cursor, limit=limit, filesystem_id=filesystem_id)
        return await self._place.send(filesystem_calls.list_syncs(self._place, query), deadline=deadline)

    def iter_syncs(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        filesystem_id: str | None = None,
        deadline: float | None = None,
    ) -> arker.AsyncItems[models.Sync]:
        """Iterate over the filesystems that are bound into this VM, as `iter_mounts` does.

        Args:
            cursor: Cursor of the first page: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Number of syncs per page; the server's default is 50, its maximum 1,000.
            filesystem_id: Only syncs of this filesystem.
            deadline: Seconds for each page; None for no limit.

        Raises:
            BadCursorError: The server rejected a cursor; the error says where to resume.
        """
        return pages_of(
            lambda at, size: self.list_syncs(cursor=at, limit=size, filesystem_id=filesystem_id, deadline=deadline),
            lambda page: page.syncs,
            cursor,
            page_size,
        )

    async def delete_sync(self, sync_id: str, *, deadline: float | None = None) -> models.DeleteSyncResponse:
        """Unbind a filesystem from this VM, as `delete_mount` does.

        Args:
            sync_id: The sync's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such sync in this VM.
        """
        call = filesystem_calls.delete_sync(self._place, check.check_id("sync_id", sync_id))
        return await self._place.send(call, deadline=deadline)


__all__ = ["Filesystems"]
