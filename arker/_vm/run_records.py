"""The runs of a VM: read, list and cancel them. A part of `AsyncVM`."""

from __future__ import annotations

from collections.abc import Sequence

import arker
from arker import models
from arker._protocol.calls import runs as run_calls
from arker._protocol.forms import lack_of_pending
from arker._protocol.pages import pages_of
from arker._runs import cancelling
from arker._runs.follower import RunFollower
from arker._vm.base import VmBase
from arker.models import _checks as check


class RunRecords(VmBase):
    """The methods of `AsyncVM` for runs that there are."""

    def attach_run(self, run_id: str) -> arker.AsyncRun:
        """Return a run of this VM by its id without a request. Its fields are None until the first read.

        Args:
            run_id: The run's id.
        """
        return arker.AsyncRun(RunFollower(self._place, check.check_id("run_id", run_id)))

    async def get_run(self, run_id: str, *, deadline: float | None = None) -> models.Run:
        """Read a run with its output so far.

        Args:
            run_id: The run's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such run in this VM.
        """
        call = run_calls.get_run(self._place, check.check_id("run_id", run_id))
        return await self._place.send(call, deadline=deadline)

    async def list_runs(
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
        query = run_calls.RunsQuery(
            cursor=cursor,
            limit=limit,
            state=state,
            started_after=started_after,
            started_before=started_before,
            completed_after=completed_after,
        )
        call = run_calls.list_runs(self._place, query, lack=lack_of_pending(query.state))
        return await self._place.send(call, deadline=deadline)

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
    ) -> arker.AsyncItems[models.RunSummary]:
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
        return pages_of(
            lambda at, size: self.list_runs(
                cursor=at,
                limit=size,
                state=state,
                started_after=started_after,
                started_before=started_before,
                completed_after=completed_after,
                deadline=deadline,
            ),
            lambda page: page.runs,
            cursor,
            page_size,
        )

    async def cancel_run(self, run_id: str, *, deadline: float | None = None) -> models.CancelRunResponse:
        """Cancel a run: kill its command and all its processes.

        A server that does not know a run yet, right after it has accepted it, is asked again for two seconds.

        Args:
            run_id: The run's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such run in this VM.
        """
        return await cancelling.cancel(self._place, check.check_id("run_id", run_id), deadline=deadline)


__all__ = ["RunRecords"]
