# Generated from arker/_vm/filesystems.py by "nox -s facade": change that file, not this one.
"""Filesystems that are bound into a VM. A part of `VM`."""

from __future__ import annotations

from collections.abc import Iterator

from arker import models
from arker_sync._bridge.outcomes import same
from arker_sync._vm.base import VmBase


class Filesystems(VmBase):
    """The calls of `VM` on syncs."""

    def create_sync(self, *, filesystem_id: str, path: str | None = None, deadline: float | None = None) -> models.Sync:
        """Bind a filesystem into this VM; with ``live`` False the VM sees it from its next start on.

        Args:
            filesystem_id: The filesystem.
            path: Where in the VM; the server chooses unless given.
            deadline: Seconds for the whole call; None for no bound.

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
        """A page of the filesystems that are bound into this VM, newest first.

        Args:
            cursor: Where to go on: ``next_cursor`` of the page before.
            limit: Syncs on the page; the server takes 50 unless told, and at most 1,000.
            filesystem_id: Only those of this filesystem.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            BadRequestError: The cursor is not one of this list.
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
    ) -> Iterator[models.Sync]:
        """The filesystems that are bound into this VM, newest first; each page is asked for when it is needed.

        Args:
            cursor: Where to begin: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Syncs to ask for at once; the server takes 50 unless told, and at most 1,000.
            filesystem_id: Only those of this filesystem.
            deadline: Seconds for each page; None for no bound.

        Raises:
            BadCursorError: The server refuses to go on; it says where to.
        """
        iterator = self._async.iter_syncs(
            cursor=cursor, page_size=page_size, filesystem_id=filesystem_id, deadline=deadline
        )
        return self._lease.iterate(iterator, same)

    def delete_sync(self, sync_id: str, *, deadline: float | None = None) -> models.DeleteSyncResponse:
        """Take a filesystem out of this VM; its files stay in the filesystem.

        Args:
            sync_id: The sync's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such sync in this VM.
        """
        work = self._async.delete_sync(sync_id, deadline=deadline)
        return self._lease.call(work)


__all__ = ["Filesystems"]
