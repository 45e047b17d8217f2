"""What a VM has, item by item: runs, sessions, tunnels, syncs. A part of `AsyncVM`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from arker import models
from arker._paging import Pages, next_cursor
from arker._vm_runs import VmRuns
from arker.models import _checks as check


class VmLists(VmRuns):
    """The lists of `AsyncVM`, gone through page after page."""

    def iter_runs(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        state: models.RunState | str | Sequence[models.RunState | str] | None = None,
        started_after: str | None = None,
        started_before: str | None = None,
        completed_after: str | None = None,
        deadline: float | None = None,
    ) -> AsyncIterator[models.RunSummary]:
        """This VM's runs, newest first, without their output; each page is asked for when it is needed.

        Args:
            cursor: Where to begin: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Runs to ask for at once; the server takes 50 unless told, and at most 1,000.
            state: Only runs in this state, or in one of these.
            started_after: Only runs started after this moment (RFC 3339).
            started_before: Only runs started before this moment (RFC 3339).
            completed_after: Only runs completed after this moment (RFC 3339).
            deadline: Seconds for each page; None for no bound.

        Raises:
            BadCursorError: The server refuses to go on; it says where to.
        """
        size = check.page_size(page_size)

        async def page(cursor: str | None) -> tuple[tuple[models.RunSummary, ...], str | None]:
            found = await self.list_runs(
                cursor=cursor,
                limit=size,
                state=state,
                started_after=started_after,
                started_before=started_before,
                completed_after=completed_after,
                deadline=deadline,
            )
            return found.runs, next_cursor(found)

        return Pages(page, check.query_text("cursor", cursor))

    def iter_sessions(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        state: models.SessionState | str | Sequence[models.SessionState | str] | None = None,
        deadline: float | None = None,
    ) -> AsyncIterator[models.Session]:
        """This VM's sessions, newest first; each page is asked for when it is needed.

        Args:
            cursor: Where to begin: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Sessions to ask for at once; the server takes 50 unless told, and at most 1,000.
            state: Only sessions in this state, or in one of these.
            deadline: Seconds for each page; None for no bound.

        Raises:
            BadCursorError: The server refuses to go on; it says where to.
        """
        size = check.page_size(page_size)

        async def page(cursor: str | None) -> tuple[tuple[models.Session, ...], str | None]:
            found = await self.list_sessions(cursor=cursor, limit=size, state=state, deadline=deadline)
            return found.sessions, next_cursor(found)

        return Pages(page, check.query_text("cursor", cursor))

    def iter_tunnels(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        state: models.TunnelState | str | Sequence[models.TunnelState | str] | None = None,
        deadline: float | None = None,
    ) -> AsyncIterator[models.Tunnel]:
        """This VM's tunnels, newest first; each page is asked for when it is needed.

        Args:
            cursor: Where to begin: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Tunnels to ask for at once; the server takes 50 unless told, and at most 1,000.
            state: Only tunnels in this state, or in one of these.
            deadline: Seconds for each page; None for no bound.

        Raises:
            BadCursorError: The server refuses to go on; it says where to.
        """
        size = check.page_size(page_size)

        async def page(cursor: str | None) -> tuple[tuple[models.Tunnel, ...], str | None]:
            found = await self.list_tunnels(cursor=cursor, limit=size, state=state, deadline=deadline)
            return found.tunnels, next_cursor(found)

        return Pages(page, check.query_text("cursor", cursor))

    def iter_syncs(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        filesystem_id: str | None = None,
        deadline: float | None = None,
    ) -> AsyncIterator[models.Sync]:
        """The filesystems that are bound into this VM, newest first; each page is asked for when it is needed.

        Args:
            cursor: Where to begin: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Syncs to ask for at once; the server takes 50 unless told, and at most 1,000.
            filesystem_id: Only those of this filesystem.
            deadline: Seconds for each page; None for no bound.

        Raises:
            BadCursorError: The server refuses to go on; it says where to.
        """
        size = check.page_size(page_size)

        async def page(cursor: str | None) -> tuple[tuple[models.Sync, ...], str | None]:
            found = await self.list_syncs(cursor=cursor, limit=size, filesystem_id=filesystem_id, deadline=deadline)
            return found.syncs, next_cursor(found)

        return Pages(page, check.query_text("cursor", cursor))


__all__ = ["VmLists"]
