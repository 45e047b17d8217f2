"""Filesystems. A part of `AsyncArker`."""

from __future__ import annotations

from collections.abc import AsyncIterator

from arker import models
from arker._client.base import ClientBase
from arker._protocol.calls import filesystems as filesystem_calls
from arker._protocol.pages import Pages, next_cursor
from arker.models import _checks as check


class OrgFilesystems(ClientBase):
    """The calls of `AsyncArker` on filesystems."""

    async def create_filesystem(self, *, name: str, deadline: float | None = None) -> models.Filesystem:
        """A new, empty filesystem: bind it into VMs with `AsyncVM.create_sync`.

        Args:
            name: Its name, unique in the organisation.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            ConflictError: The name is taken.
            NetworkError: With ``outcome="unknown"`` the filesystem may exist: it is not asked for a second time.
        """
        request = models.FilesystemCreateRequest(name=name)
        call = filesystem_calls.create_filesystem(self._context.settings.base_url, request)
        return await self._context.send(call, deadline=deadline)

    async def get_filesystem(self, filesystem_id: str, *, deadline: float | None = None) -> models.Filesystem:
        """A filesystem as it is now.

        Args:
            filesystem_id: The filesystem's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such filesystem.
        """
        identifier = check.check_id("filesystem_id", filesystem_id)
        call = filesystem_calls.get_filesystem(self._context.settings.base_url, identifier)
        return await self._context.send(call, deadline=deadline)

    async def list_filesystems(
        self,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        name_prefix: str | None = None,
        deadline: float | None = None,
    ) -> models.ListFilesystemsResponse:
        """A page of the organisation's filesystems, newest first (contract, section 5).

        Args:
            cursor: Where to go on: ``next_cursor`` of the page before.
            limit: Filesystems on the page; the server takes 50 unless told, and at most 1,000.
            name_prefix: Only those whose name begins like this.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            BadRequestError: The cursor is not one of this list.
        """
        query = filesystem_calls.FilesystemsQuery(cursor=cursor, limit=limit, name_prefix=name_prefix)
        call = filesystem_calls.list_filesystems(self._context.settings.base_url, query)
        return await self._context.send(call, deadline=deadline)

    def iter_filesystems(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        name_prefix: str | None = None,
        deadline: float | None = None,
    ) -> AsyncIterator[models.Filesystem]:
        """The organisation's filesystems, newest first; each page is asked for when it is needed.

        Args:
            cursor: Where to begin: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Filesystems to ask for at once; the server takes 50 unless told, and at most 1,000.
            name_prefix: Only those whose name begins like this.
            deadline: Seconds for each page; None for no bound.

        Raises:
            BadCursorError: The server refuses to go on; it says where to.
        """
        size = check.page_size(page_size)

        async def page(cursor: str | None) -> tuple[tuple[models.Filesystem, ...], str | None]:
            found = await self.list_filesystems(cursor=cursor, limit=size, name_prefix=name_prefix, deadline=deadline)
            return found.filesystems, next_cursor(found)

        return Pages(page, check.query_text("cursor", cursor))

    async def delete_filesystem(
        self, filesystem_id: str, *, deadline: float | None = None
    ) -> models.DeleteFilesystemResponse:
        """Delete a filesystem and its files.

        Args:
            filesystem_id: The filesystem's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such filesystem.
            ConflictError: It is bound into a VM.
        """
        identifier = check.check_id("filesystem_id", filesystem_id)
        call = filesystem_calls.delete_filesystem(self._context.settings.base_url, identifier)
        return await self._context.send(call, deadline=deadline)


__all__ = ["OrgFilesystems"]
