# Generated from arker/_client/filesystems.py by "nox -s facade": change that file, not this one.
"""Filesystems. A part of `Arker`."""

from __future__ import annotations

import arker_sync
from arker import models
from arker_sync._client.base import ClientBase


class OrgFilesystems(ClientBase):
    """The filesystem methods of `Arker`."""

    def create_filesystem(self, *, name: str, deadline: float | None = None) -> models.Filesystem:
        """Create an empty filesystem. Bind it into VMs with `VM.create_mount`.

        Args:
            name: The filesystem's name, unique in the organisation.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            ConflictError: The name is taken.
            NetworkError: With ``outcome="unknown"`` the filesystem may exist; the request is not repeated.
        """
        work = self._async.create_filesystem(name=name, deadline=deadline)
        return self._lease.call(work)

    def get_filesystem(self, filesystem_id: str, *, deadline: float | None = None) -> models.Filesystem:
        """Read a filesystem.

        Args:
            filesystem_id: The filesystem's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such filesystem.
        """
        work = self._async.get_filesystem(filesystem_id, deadline=deadline)
        return self._lease.call(work)

    def list_filesystems(
        self,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        name_prefix: str | None = None,
        deadline: float | None = None,
    ) -> models.ListFilesystemsResponse:
        """List one page of the organisation's filesystems, newest first (contract, section 5).

        Args:
            cursor: Cursor of the page to fetch: ``next_cursor`` of the previous page.
            limit: Maximum number of filesystems on the page; the server's default is 50, its maximum 1,000.
            name_prefix: Only filesystems whose name has this prefix.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            BadRequestError: The cursor does not belong to this list.
        """
        work = self._async.list_filesystems(cursor=cursor, limit=limit, name_prefix=name_prefix, deadline=deadline)
        return self._lease.call(work)

    def iter_filesystems(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        name_prefix: str | None = None,
        deadline: float | None = None,
    ) -> arker_sync.Items[models.Filesystem]:
        """Iterate over the organisation's filesystems, newest first. Pages are fetched on demand.

        Args:
            cursor: Cursor of the first page: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Number of filesystems per page; the server's default is 50, its maximum 1,000.
            name_prefix: Only filesystems whose name has this prefix.
            deadline: Seconds for each page; None for no limit.

        Raises:
            BadCursorError: The server rejected a cursor; the error says where to resume.
        """
        iterator = self._async.iter_filesystems(
            cursor=cursor, page_size=page_size, name_prefix=name_prefix, deadline=deadline
        )
        return arker_sync.Items(iterator, self._lease)

    def delete_filesystem(
        self, filesystem_id: str, *, deadline: float | None = None
    ) -> models.DeleteFilesystemResponse:
        """Delete a filesystem and its files.

        Args:
            filesystem_id: The filesystem's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such filesystem.
            ConflictError: The filesystem is bound into a VM; a server of generation 1 may say so otherwise.
        """
        work = self._async.delete_filesystem(filesystem_id, deadline=deadline)
        return self._lease.call(work)


__all__ = ["OrgFilesystems"]
