"""What concerns no single VM: filesystems, the list of runs, what programs left behind. A part of `AsyncArker`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import arker
from arker import _resource_calls as calls
from arker import models
from arker._lazy import later
from arker.models import _checks as check

if TYPE_CHECKING:
    from arker import _transport as transport
else:
    transport = later("arker._transport")


class ClientResources:
    """The calls of `AsyncArker` on filesystems, `list_runs`, and `reap`."""

    _transport: transport.Transport

    # --- filesystems --------------------------------------------------------------------------------------------

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
        query = {
            "cursor": check.query_text("cursor", cursor),
            "limit": check.query_limit(limit),
            "name_prefix": check.query_text("name_prefix", name_prefix),
        }
        call = calls.list_filesystems(self._transport.settings.base_url, query)
        return await self._transport.send(call, deadline=deadline)

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
        call = calls.create_filesystem(self._transport.settings.base_url, request)
        return await self._transport.send(call, deadline=deadline)

    async def get_filesystem(self, filesystem_id: str, *, deadline: float | None = None) -> models.Filesystem:
        """A filesystem as it is now.

        Args:
            filesystem_id: The filesystem's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such filesystem.
        """
        identifier = check.check_id("filesystem_id", filesystem_id)
        call = calls.get_filesystem(self._transport.settings.base_url, identifier)
        return await self._transport.send(call, deadline=deadline)

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
        call = calls.delete_filesystem(self._transport.settings.base_url, identifier)
        return await self._transport.send(call, deadline=deadline)

    # --- the organisation's run list ----------------------------------------------------------------------------

    async def list_runs(
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
        """What the organisation's requests did, in all of its VMs (contract, section 5). A VM's own runs: `AsyncVM`.

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
        query = {
            "since": check.query_integer("since", since),
            "until": check.query_integer("until", until),
            "vm": check.query_text("vm", vm),
            "vms": check.query_list("vm_ids", vm_ids),
            "region": check.query_text("region", region),
            "provider": check.query_text("provider", provider),
            "source": check.query_text("source", source),
            "search": check.query_text("search", search),
            "limit": check.query_limit(limit),
            "offset": check.query_integer("offset", offset),
            "lite": None if lite is None else check.check_boolean("lite", lite),
            "runtime": check.query_text("runtime", runtime),
            "endpoint": check.query_text("endpoint", endpoint),
            "actions": check.query_list("actions", actions),
            "status": check.query_statuses("status", status),
            "status_min": check.query_integer("status_min", status_min),
            "status_max": check.query_integer("status_max", status_max),
            "sort": check.query_text("sort", sort),
            "dir": None if dir is None else check.check_one_of("dir", dir, ("asc", "desc")),
        }
        call = calls.list_org_runs(self._transport.settings.control_base_url, query)
        return await self._transport.send(call, deadline=deadline)

    # --- what programs left behind ------------------------------------------------------------------------------

    async def reap(
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
        from arker._reap import reap  # few programs need it

        return await reap(
            self._transport, self._transport.ledger, older_than=older_than, dry_run=dry_run, deadline=deadline
        )


__all__ = ["ClientResources"]
