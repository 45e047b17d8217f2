# Generated from arker/_client/runs.py by "nox -s facade": change that file, not this one.
"""The organisation's runs. A part of `Arker`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import arker_sync
from arker import models
from arker_sync._client.base import ClientBase


class OrgRuns(ClientBase):
    """The run methods of `Arker`."""

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
        """List the organisation's requests in all VMs (contract, section 5).

        For the runs of one VM use `VM.list_runs`.

        Args:
            since: Only requests from this time on, in seconds since the epoch.
            until: Only requests before this time, in seconds since the epoch.
            vm: Only requests for this VM.
            vm_ids: Only requests for these VMs.
            region: Only requests in this region.
            provider: Only requests at this provider.
            source: Only records from this source.
            search: Only rows that contain this text.
            limit: Maximum number of rows.
            offset: Number of rows to skip.
            lite: Short rows, without bodies.
            runtime: Only requests of this runtime.
            endpoint: Only requests to this endpoint.
            actions: Only requests with these actions.
            status: Only requests with this HTTP status or one of these, as numbers or strings.
            status_min: Only requests with an HTTP status of at least this.
            status_max: Only requests with an HTTP status of at most this.
            sort: The field to sort by.
            dir: ``asc`` or ``desc``.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            BadRequestError: The server rejects a filter.
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

    def iter_runs(
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
        page_size: int | None = None,
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
    ) -> arker_sync.Items[models.OrgRunListRow]:
        """Iterate over the organisation's requests. Pages are fetched on demand.

        The list has offsets instead of cursors, and it grows during the iteration. All pages therefore end at the same
        time as the first one, and rows that new rows have moved to the next page are not returned twice.

        Args:
            since: Only requests from this time on, in seconds since the epoch.
            until: Only requests before this time, in seconds since the epoch; by default the time of the first page.
            vm: Only requests for this VM.
            vm_ids: Only requests for these VMs.
            region: Only requests in this region.
            provider: Only requests at this provider.
            source: Only records from this source.
            search: Only rows that contain this text.
            page_size: Number of rows per page.
            offset: Number of rows to skip at the start.
            lite: Short rows, without bodies.
            runtime: Only requests of this runtime.
            endpoint: Only requests to this endpoint.
            actions: Only requests with these actions.
            status: Only requests with this HTTP status or one of these, as numbers or strings.
            status_min: Only requests with an HTTP status of at least this.
            status_max: Only requests with an HTTP status of at most this.
            sort: The field to sort by.
            dir: ``asc`` or ``desc``.
            deadline: Seconds for each page; None for no limit.

        Raises:
            BadRequestError: The server rejects a filter.
        """
        iterator = self._async.iter_runs(
            since=since,
            until=until,
            vm=vm,
            vm_ids=vm_ids,
            region=region,
            provider=provider,
            source=source,
            search=search,
            page_size=page_size,
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
        return arker_sync.Items(iterator, self._lease)


__all__ = ["OrgRuns"]
