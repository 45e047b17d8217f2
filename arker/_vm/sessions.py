"""Sessions of a VM. A part of `AsyncVM`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import arker
from arker import models
from arker._protocol.calls import sessions as session_calls
from arker._protocol.pages import pages_of
from arker._vm.base import VmBase
from arker.models import _checks as check


class Sessions(VmBase):
    """The session methods of `AsyncVM`."""

    def open_session(
        self, *, env: Mapping[str, str] | None = None, cwd: str | None = None, deadline: float | None = None
    ) -> arker.AsyncSession:
        """Return a new session for ``async with``. The block opens it, and deletes it at the end.

        Args:
            env: Environment variables in addition to those that every session has.
            cwd: Initial working directory; by default the home directory, where a relative path starts.
            deadline: Seconds until the session is open; None for no limit.
        """
        bound = None if deadline is None else check.check_seconds("deadline", deadline)
        return arker.AsyncSession(self._place, models.CreateSessionRequest(env=env, cwd=cwd), bound)

    async def create_session(
        self, *, env: Mapping[str, str] | None = None, cwd: str | None = None, deadline: float | None = None
    ) -> models.Session:
        """Create a session: like a terminal tab, it has its own working directory and environment.

        Run commands in it with ``run(..., session_id=session.session_id)``.

        Args:
            env: Environment variables in addition to those that every session has.
            cwd: Initial working directory; by default the home directory, where a relative path starts.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            BadRequestError: The working directory does not exist.
        """
        request = models.CreateSessionRequest(env=env, cwd=cwd)
        return await self._place.send(session_calls.create_session(self._place, request), deadline=deadline)

    async def get_session(self, session_id: str, *, deadline: float | None = None) -> models.Session:
        """Read a session.

        Args:
            session_id: The session's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such session in this VM.
        """
        call = session_calls.get_session(self._place, check.check_id("session_id", session_id))
        return await self._place.send(call, deadline=deadline)

    async def list_sessions(
        self,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        state: models.SessionState | str | Sequence[models.SessionState | str] | None = None,
        deadline: float | None = None,
    ) -> models.ListSessionsResponse:
        """List one page of this VM's sessions, newest first (contract, section 5).

        Args:
            cursor: Cursor of the page to fetch: ``next_cursor`` of the previous page.
            limit: Maximum number of sessions on the page; the server's default is 50, its maximum 1,000.
            state: Only sessions in this state or in one of these states.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            BadRequestError: The cursor does not belong to this list.
        """
        query = session_calls.SessionsQuery(cursor=cursor, limit=limit, state=state)
        return await self._place.send(session_calls.list_sessions(self._place, query), deadline=deadline)

    def iter_sessions(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        state: models.SessionState | str | Sequence[models.SessionState | str] | None = None,
        deadline: float | None = None,
    ) -> arker.AsyncItems[models.Session]:
        """Iterate over this VM's sessions, newest first. Pages are fetched on demand.

        Args:
            cursor: Cursor of the first page: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Number of sessions per page; the server's default is 50, its maximum 1,000.
            state: Only sessions in this state or in one of these states.
            deadline: Seconds for each page; None for no limit.

        Raises:
            BadCursorError: The server rejected a cursor; the error says where to resume.
        """
        return pages_of(
            lambda at, size: self.list_sessions(cursor=at, limit=size, state=state, deadline=deadline),
            lambda page: page.sessions,
            cursor,
            page_size,
        )

    async def delete_session(self, session_id: str, *, deadline: float | None = None) -> models.DeleteSessionResponse:
        """Delete a session and stop its commands.

        Args:
            session_id: The session's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such session in this VM.
        """
        call = session_calls.delete_session(self._place, check.check_id("session_id", session_id))
        return await self._place.send(call, deadline=deadline)


__all__ = ["Sessions"]
