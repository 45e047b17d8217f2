# Generated from arker/_client_resources.py by "nox -s facade": change that file, not this one.
"""What concerns no single VM: filesystems, the list of runs, what programs left behind. A part of `Arker`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import arker
from arker import models
from arker_sync._life import Life


class ClientResources(Life):
    """The calls of `Arker` on filesystems, `list_runs`, and `reap`."""

    _async: arker.AsyncArker

    # --- filesystems --------------------------------------------------------------------------------------------

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

    # --- the organisation's run list ----------------------------------------------------------------------------

    def list_runs(
        self,
        *,
        since: int | None = None,
        until: int | None = None,
        vm: str | None = None,
        vm_ids: Sequence[str] | None = None,
        region: str | None = None,
        provider: models.Provider | str | None = None,
        source: str | None = None,
        search: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
        lite: bool | None = None,
        runtime: str | None = None,
        endpoint: str | None = None,
        actions: Sequence[str] | None = None,
        status: int | str | Sequence[int | str] | None = None,
        status_min: int | None = None,
        status_max: int | None = None,
        sort: str | None = None,
        dir: Literal["asc", "desc"] | None = None,
        deadline: float | None = None,
    ) -> models.ListOrgRunsResponse:
        """What the organisation's requests did, in all of its VMs (contract, section 5). A VM's own runs: `VM`.

        Args:
            since: Only from this moment on, in seconds since the epoch.
            until: Only before this moment, in seconds since the epoch.
            vm: Only for this VM.
            vm_ids: Only for these VMs.
            region: Only in this region.
            provider: Only of this provider.
            source: Only records from this source.
            search: Only rows in which this text occurs.
            limit: Rows at most.
            offset: Rows to leave out before them.
            lite: Short rows, without bodies.
            runtime: Only of this runtime.
            endpoint: Only of this endpoint.
            actions: Only of these actions.
            status: Only with this HTTP status, or one of these, as numbers or texts.
            status_min: Only with an HTTP status of at least this.
            status_max: Only with an HTTP status of at most this.
            sort: The field to sort by.
            dir: ``asc`` or ``desc``.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            BadRequestError: The server refuses a filter.
        """
        work = self._async.list_runs(
            since=since,
            until=until,
            vm=vm,
            vm_ids=vm_ids,
            region=region,
            provider=provider,
            source=source,
            search=search,
            limit=limit,
            offset=offset,
            lite=lite,
            runtime=runtime,
            endpoint=endpoint,
            actions=actions,
            status=status,
            status_min=status_min,
            status_max=status_max,
            sort=sort,
            dir=dir,
            deadline=deadline,
        )
        return self._lease.call(work)

    # --- what programs left behind ------------------------------------------------------------------------------

    def reap(
        self, *, older_than: float | None = None, dry_run: bool = False, deadline: float | None = None
    ) -> arker.ReapReport:
        """Delete the VMs that programs left which were killed, or which ended with an exception.

        The ledger on this machine says which these are: VMs that were forked with this client's key, at its base URLs,
        by processes that are no more. What a living program holds is left alone, and so is everything else.

        Args:
            older_than: Seconds; VMs forked longer ago than this count as left behind, too, when their program ran on
                another machine that has the same ledger, or on this one before it was started anew.
            dry_run: Only say what there is.
            deadline: Seconds for the whole call; None for no bound. What was done by then stays done.

        Raises:
            ConfigurationError: The ledger cannot be read.
        """
        work = self._async.reap(older_than=older_than, dry_run=dry_run, deadline=deadline)
        return self._lease.call(work)


__all__ = ["ClientResources"]
