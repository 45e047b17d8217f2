# Generated from arker/_client/filesystems.py by "nox -s facade": change that file, not this one.
"""Filesystems. A part of `Arker`."""

from __future__ import annotations

from collections.abc import Iterator

from arker import models
from arker_sync._bridge.outcomes import same
from arker_sync._client.base import ClientBase


class OrgFilesystems(ClientBase):
    """The calls of `Arker` on filesystems."""

    def create_filesystem(self, *, name: str, deadline: float | None = None) -> models.Filesystem:
        """A new, empty filesystem: bind it into VMs with `VM.create_sync`.

        Args:
            name: Its name, unique in the organisation.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            ConflictError: The name is taken.
            NetworkError: With ``outcome="unknown"`` the filesystem may exist: it is not asked for a second time.
        """
        work = self._async.create_filesystem(name=name, deadline=deadline)
        return self._lease.call(work)

    def get_filesystem(self, filesystem_id: str, *, deadline: float | None = None) -> models.Filesystem:
        """A filesystem as it is now.

        Args:
            filesystem_id: The filesystem's id.
            deadline: Seconds for the whole call; None for no bound.

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
        """A page of the organisation's filesystems, newest first (contract, section 5).

        Args:
            cursor: Where to go on: ``next_cursor`` of the page before.
            limit: Filesystems on the page; the server takes 50 unless told, and at most 1,000.
            name_prefix: Only those whose name begins like this.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            BadRequestError: The cursor is not one of this list.
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
    ) -> Iterator[models.Filesystem]:
        """The organisation's filesystems, newest first; each page is asked for when it is needed.

        Args:
            cursor: Where to begin: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Filesystems to ask for at once; the server takes 50 unless told, and at most 1,000.
            name_prefix: Only those whose name begins like this.
            deadline: Seconds for each page; None for no bound.

        Raises:
            BadCursorError: The server refuses to go on; it says where to.
        """
        iterator = self._async.iter_filesystems(
            cursor=cursor, page_size=page_size, name_prefix=name_prefix, deadline=deadline
        )
        return self._lease.iterate(iterator, same)

    def delete_filesystem(
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
        work = self._async.delete_filesystem(filesystem_id, deadline=deadline)
        return self._lease.call(work)


__all__ = ["OrgFilesystems"]
