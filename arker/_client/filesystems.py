"""Filesystems. A part of `AsyncArker`."""

from __future__ import annotations

import arker
from arker import models
from arker._client.base import ClientBase
from arker._protocol import calls
from arker._protocol.pages import pages_of
from arker.models import _checks as check


class OrgFilesystems(ClientBase):
    """The filesystem methods of `AsyncArker`."""

    async def create_filesystem(self, *, name: str, deadline: float | None = None) -> models.Filesystem:
        """Create an empty filesystem. Bind it into VMs with `AsyncVM.create_mount`.

        Args:
            name: The filesystem's name, unique in the organisation.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            ConflictError: The name is taken.
            NetworkError: With ``outcome="unknown"`` the filesystem may exist; the request is not repeated.
        """
        request = models.FilesystemCreateRequest(name=name)
        call = calls.filesystems.create_filesystem(self._context.settings.compute_base_url(), request)
        return await self._context.send(call, deadline=deadline)

    async def get_filesystem(self, filesystem_id: str, *, deadline: float | None = None) -> models.Filesystem:
        """Read a filesystem.

        Args:
            filesystem_id: The filesystem's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such filesystem.
        """
        identifier = check.check_id("filesystem_id", filesystem_id)
        call = calls.filesystems.get_filesystem(self._context.settings.compute_base_url(), identifier)
        return await self._context.send(call, deadline=deadline)

    async def list_filesystems(
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
        query = calls.filesystems.FilesystemsQuery(cursor=cursor, limit=limit, name_prefix=name_prefix)
        call = calls.filesystems.list_filesystems(self._context.settings.compute_base_url(), query)
        return await self._context.send(call, deadline=deadline)

    def iter_filesystems(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        name_prefix: str | None = None,
        deadline: float | None = None,
    ) -> arker.AsyncItems[models.Filesystem]:
        """Iterate over the organisation's filesystems, newest first. Pages are fetched on demand.

        Args:
            cursor: Cursor of the first page: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Number of filesystems per page; the server's default is 50, its maximum 1,000.
            name_prefix: Only filesystems whose name has this prefix.
            deadline: Seconds for each page; None for no limit.

        Raises:
            BadCursorError: The server rejected a cursor; the error says where to resume.
        """
        return pages_of(
            lambda at, size: self.list_filesystems(cursor=at, limit=size, name_prefix=name_prefix, deadline=deadline),
            lambda page: page.filesystems,
            cursor,
            page_size,
        )

    async def delete_filesystem(
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
        identifier = check.check_id("filesystem_id", filesystem_id)
        call = calls.filesystems.delete_filesystem(self._context.settings.compute_base_url(), identifier)
        return await self._context.send(call, deadline=deadline)


__all__ = ["OrgFilesystems"]
