# Generated from arker/_vm_lists.py by "nox -s facade": change that file, not this one.
"""What a VM has, item by item: runs, sessions, tunnels, syncs. A part of `VM`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from arker import models
from arker_sync._facade import same
from arker_sync._vm_runs import VmRuns


class VmLists(VmRuns):
    """The lists of `VM`, gone through page after page."""

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
    ) -> Iterator[models.RunSummary]:
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
        iterator = self._async.iter_runs(
            cursor=cursor,
            page_size=page_size,
            state=state,
            started_after=started_after,
            started_before=started_before,
            completed_after=completed_after,
            deadline=deadline,
        )
        return self._lease.iterate(iterator, same)

    def iter_sessions(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        state: models.SessionState | str | Sequence[models.SessionState | str] | None = None,
        deadline: float | None = None,
    ) -> Iterator[models.Session]:
        """This VM's sessions, newest first; each page is asked for when it is needed.

        Args:
            cursor: Where to begin: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Sessions to ask for at once; the server takes 50 unless told, and at most 1,000.
            state: Only sessions in this state, or in one of these.
            deadline: Seconds for each page; None for no bound.

        Raises:
            BadCursorError: The server refuses to go on; it says where to.
        """
        iterator = self._async.iter_sessions(cursor=cursor, page_size=page_size, state=state, deadline=deadline)
        return self._lease.iterate(iterator, same)

    def iter_tunnels(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        state: models.TunnelState | str | Sequence[models.TunnelState | str] | None = None,
        deadline: float | None = None,
    ) -> Iterator[models.Tunnel]:
        """This VM's tunnels, newest first; each page is asked for when it is needed.

        Args:
            cursor: Where to begin: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Tunnels to ask for at once; the server takes 50 unless told, and at most 1,000.
            state: Only tunnels in this state, or in one of these.
            deadline: Seconds for each page; None for no bound.

        Raises:
            BadCursorError: The server refuses to go on; it says where to.
        """
        iterator = self._async.iter_tunnels(cursor=cursor, page_size=page_size, state=state, deadline=deadline)
        return self._lease.iterate(iterator, same)

    def iter_syncs(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        filesystem_id: str | None = None,
        deadline: float | None = None,
    ) -> Iterator[models.Sync]:
        """The filesystems that are bound into this VM, newest first; each page is asked for when it is needed.

        Args:
            cursor: Where to begin: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Syncs to ask for at once; the server takes 50 unless told, and at most 1,000.
            filesystem_id: Only those of this filesystem.
            deadline: Seconds for each page; None for no bound.

        Raises:
            BadCursorError: The server refuses to go on; it says where to.
        """
        iterator = self._async.iter_syncs(
            cursor=cursor, page_size=page_size, filesystem_id=filesystem_id, deadline=deadline
        )
        return self._lease.iterate(iterator, same)


__all__ = ["VmLists"]
