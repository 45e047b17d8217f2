"""The organisation's runs. A part of `AsyncArker`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, Literal

import arker
from arker import models
from arker._client.base import ClientBase
from arker._protocol import calls
from arker._protocol.pages import Pages
from arker.errors import BadReplyError
from arker.models import _checks as check

logger = logging.getLogger("arker")

_LARGER_PAGE: Final = 100
"""Number of rows up to which a page becomes larger if those before brought nothing new."""
_REPEATED_PAGES: Final = 10
"""Number of successive pages without a new row that a growing list may have; with more, the server ignores offsets."""


class OrgRuns(ClientBase):
    """The run methods of `AsyncArker`."""

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
        """List the organisation's requests in all VMs (contract, section 5).

        For the runs of one VM use `AsyncVM.list_runs`.

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
        query = calls.runs.OrgRunsQuery(
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
        )
        call = calls.runs.list_org_runs(self._context.settings.control_base_url, query)
        return await self._context.send(call, deadline=deadline)

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
    ) -> arker.AsyncItems[models.OrgRunListRow]:
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
        size = check.page_size(page_size)
        first = check.query_integer("offset", offset) or 0
        end = until
        known: frozenset[str | models.OrgRunListRow] = frozenset()
        largest = repeated = 0
        asked = size

        async def page(cursor: str | None) -> tuple[tuple[models.OrgRunListRow, ...], str | None]:
            nonlocal end, known, largest, repeated, asked
            begin = first if cursor is None else int(cursor)
            found = await self.list_runs(
                since=since,
                until=end,
                vm=vm,
                vm_ids=vm_ids,
                region=region,
                provider=provider,
                source=source,
                search=search,
                limit=asked,
                offset=begin,
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
            end = found.until if end is None else end
            # Rows with a blank id are recognized by their whole content.
            rows = tuple([row for row in found.rows if (row.request_id or row) not in known])
            known = frozenset([row.request_id or row for row in found.rows])
            largest = max(largest, len(found.rows))
            if not rows and len(found.rows) < largest:
                return (), None  # only known rows, moved on by new ones: the requests for this list are rows, too
            repeated = repeated + 1 if found.rows and not rows else 0
            if repeated > _REPEATED_PAGES:
                raise BadReplyError("the list does not go on: every page is the same", path="$.rows")
            if repeated and asked is not None and asked < _LARGER_PAGE:
                asked += 1  # new rows fill pages of this size as fast as they are read
            return rows, str(begin + len(found.rows)) if found.rows else None

        return Pages(page, None)


__all__ = ["OrgRuns"]
