"""The organisation's runs. A part of `AsyncArker`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal

from arker import models
from arker._client.base import ClientBase
from arker._protocol.calls import runs as run_calls
from arker._protocol.pages import Pages
from arker.errors import BadReplyError
from arker.models import _checks as check

logger = logging.getLogger("arker")


_REPEATED_PAGES: Final = 10


"""Pages without a new row that a list which grows may have; with more, the server does not know offsets."""


class OrgRuns(ClientBase):
    """The calls of `AsyncArker` on runs."""

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
        query = run_calls.OrgRunsQuery(
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
        call = run_calls.list_org_runs(self._context.settings.control_base_url, query)
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
    ) -> AsyncIterator[models.OrgRunListRow]:
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
        size = check.page_size(page_size)
        first = check.query_integer("offset", offset) or 0
        end = until
        known: frozenset[str | models.OrgRunListRow] = frozenset()
        largest = repeated = 0

        async def page(cursor: str | None) -> tuple[tuple[models.OrgRunListRow, ...], str | None]:
            nonlocal end, known, largest, repeated
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
                limit=size,
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
            # Where the ids are blank, a row is known by all that it has.
            rows = tuple([row for row in found.rows if (row.request_id or row) not in known])
            known = frozenset([row.request_id or row for row in found.rows])
            largest = max(largest, len(found.rows))
            if not rows and len(found.rows) < largest:
                return (), None  # the last rows, moved on by as many new ones: the requests for the list are rows, too
            repeated = repeated + 1 if found.rows and not rows else 0
            if repeated > _REPEATED_PAGES:
                raise BadReplyError("the list does not go on: every page is the same", path="$.rows")
            return rows, str(begin + len(found.rows)) if found.rows else None

        return Pages(page, None)


__all__ = ["OrgRuns"]
