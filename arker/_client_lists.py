"""What the organisation has, item by item: VMs, filesystems, and what its requests did. A part of `AsyncArker`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal

import arker
from arker import models
from arker._client_vms import ClientVms
from arker._paging import Pages, next_cursor
from arker.errors import BadReplyError
from arker.models import _checks as check

logger = logging.getLogger("arker")

_REPEATED_PAGES: Final = 10
"""Pages without a new row that a list which grows may have; with more, the server does not know offsets."""


class ClientLists(ClientVms):
    """The lists of `AsyncArker`, gone through page after page."""

    def iter_vms(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        region: str | None = None,
        provider: models.Provider | str | None = None,
        state: models.VmState | str | Sequence[models.VmState | str] | None = None,
        source_org_id: str | None = None,
        started_after: str | None = None,
        started_before: str | None = None,
        deadline: float | None = None,
    ) -> AsyncIterator[arker.AsyncVM]:
        """Handles on the organisation's VMs, newest first; each page is asked for when it is needed.

        A handle has every field of the list's `Vm`, as ``vm.data``, and can be worked with. The list is that of all
        regions, while a handle goes to this client's base URLs: take ``region=`` and ``provider=`` to get VMs that are
        to be worked with, where the organisation has others.

        Args:
            cursor: Where to begin: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: VMs to ask for at once; the server takes 50 unless told, and at most 1,000.
            region: Only VMs of this region.
            provider: Only VMs of this provider.
            state: Only VMs in this state, or in one of these.
            source_org_id: Only VMs whose source belongs to this organisation.
            started_after: Only VMs started after this moment (RFC 3339).
            started_before: Only VMs started before this moment (RFC 3339).
            deadline: Seconds for each page; None for no bound.

        Raises:
            BadCursorError: The server refuses to go on; it says where to.
        """
        from arker.vm import AsyncVM  # as in the other calls that give handles

        size = check.page_size(page_size)

        async def page(cursor: str | None) -> tuple[tuple[arker.AsyncVM, ...], str | None]:
            found = await self.list_vms(
                cursor=cursor,
                limit=size,
                region=region,
                provider=provider,
                state=state,
                source_org_id=source_org_id,
                started_after=started_after,
                started_before=started_before,
                deadline=deadline,
            )
            base_url = self._transport.settings.vm_base_url
            vms = tuple([AsyncVM(self._transport, vm.vm_id, base_url(vm.vm_id), vm) for vm in found.vms if vm.vm_id])
            if len(vms) < len(found.vms):
                # No handle can be made of it, and it must not cost the others.
                logger.warning("%d VMs of the list name no id, and are left out", len(found.vms) - len(vms))
            return vms, next_cursor(found)

        return Pages(page, check.query_text("cursor", cursor))

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


__all__ = ["ClientLists"]
