# Generated from arker/_vm/run_records.py by "nox -s facade": change that file, not this one.
"""The runs of a VM: read, list and cancel them. A part of `VM`."""

from __future__ import annotations

from collections.abc import Sequence

import arker_sync
from arker import models
from arker_sync._vm.base import VmBase


class RunRecords(VmBase):
    """The methods of `VM` for runs that there are."""

    def attach_run(self, run_id: str) -> arker_sync.RunHandle:
        """Return a run of this VM by its id without a request. Its fields are None until the first read.

        Args:
            run_id: The run's id.
        """
        value = self._async.attach_run(run_id)
        return arker_sync.RunHandle(value, self._lease)

    def get_run(self, run_id: str, *, deadline: float | None = None) -> models.Run:
        """Read a run with its output so far.

        Args:
            run_id: The run's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such run in this VM.
        """
        work = self._async.get_run(run_id, deadline=deadline)
        return self._lease.call(work)

    def list_runs(
        self,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        state: models.RunState | str | Sequence[models.RunState | str] | None = None,
        started_after: str | None = None,
        started_before: str | None = None,
        completed_after: str | None = None,
        deadline: float | None = None,
    ) -> models.ListRunsResponse:
        """List one page of this VM's runs, newest first, without their output.

        Args:
            cursor: Cursor of the page to fetch: ``next_cursor`` of the previous page.
            limit: Maximum number of runs on the page; the server's default is 50, its maximum 1,000.
            state: Only runs in this state or in one of these states.
            started_after: Only runs started after this time (RFC 3339).
            started_before: Only runs started before this time (RFC 3339).
            completed_after: Only runs completed after this time (RFC 3339).
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            BadRequestError: The cursor does not belong to this list.
        """
        work = self._async.list_runs(
            cursor=cursor,
            limit=limit,
            state=state,
            started_after=started_after,
            started_before=started_before,
            completed_after=completed_after,
            deadline=deadline,
        )
        return self._lease.call(work)

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
    ) -> arker_sync.Items[models.RunSummary]:
        """Iterate over this VM's runs, newest first, without their output. Pages are fetched on demand.

        Args:
            cursor: Cursor of the first page: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Number of runs per page; the server's default is 50, its maximum 1,000.
            state: Only runs in this state or in one of these states.
            started_after: Only runs started after this time (RFC 3339).
            started_before: Only runs started before this time (RFC 3339).
            completed_after: Only runs completed after this time (RFC 3339).
            deadline: Seconds for each page; None for no limit.

        Raises:
            BadCursorError: The server rejected a cursor; the error says where to resume.
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
        return arker_sync.Items(iterator, self._lease)

    def cancel_run(self, run_id: str, *, deadline: float | None = None) -> models.CancelRunResponse:
        """Cancel a run: kill its command and all its processes.

        A server that does not know a run yet, right after it has accepted it, is asked again for two seconds.

        Args:
            run_id: The run's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such run in this VM.
        """
        work = self._async.cancel_run(run_id, deadline=deadline)
        return self._lease.call(work)


__all__ = ["RunRecords"]
