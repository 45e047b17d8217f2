# Generated from arker/_client/runs.py by "nox -s facade": change that file, not this one.
"""The organisation's runs. A part of `Arker`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from arker import models
from arker_sync._bridge.outcomes import same
from arker_sync._client.base import ClientBase


class OrgRuns(ClientBase):
    """The calls of `Arker` on runs."""

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
    ) -> Iterator[models.OrgRunListRow]:
        """What the organisation's requests did, row by row; each page is asked for when it is needed.

        The list has offsets instead of cursors, and grows while it is read. So the pages after the first end where that
        one did, and rows that new ones have moved to the next page are left out there.

        Args:
            since: Only from this moment on, in seconds since the epoch.
            until: Only before this moment, in seconds since the epoch; the moment of the first page unless given.
            vm: Only for this VM.
            vm_ids: Only for these VMs.
            region: Only in this region.
            provider: Only of this provider.
            source: Only records from this source.
            search: Only rows in which this text occurs.
            page_size: Rows to ask for at once.
            offset: Rows to leave out before the first.
            lite: Short rows, without bodies.
            runtime: Only of this runtime.
            endpoint: Only of this endpoint.
            actions: Only of these actions.
            status: Only with this HTTP status, or one of these, as numbers or texts.
            status_min: Only with an HTTP status of at least this.
            status_max: Only with an HTTP status of at most this.
            sort: The field to sort by.
            dir: ``asc`` or ``desc``.
            deadline: Seconds for each page; None for no bound.

        Raises:
            BadRequestError: The server refuses a filter.
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
        return self._lease.iterate(iterator, same)


__all__ = ["OrgRuns"]
