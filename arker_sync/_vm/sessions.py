# Generated from arker/_vm/sessions.py by "nox -s facade": change that file, not this one.
"""Sessions of a VM. A part of `VM`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import arker_sync
from arker import models
from arker_sync._vm.base import VmBase


class Sessions(VmBase):
    """The session methods of `VM`."""

    def open_session(
        self, *, env: Mapping[str, str] | None = None, cwd: str | None = None, deadline: float | None = None
    ) -> arker_sync.SessionHandle:
        """Return a new session for ``with``. The block opens it, and deletes it at the end.

        Args:
            env: Environment variables in addition to those that every session has.
            cwd: Initial working directory; by default the home directory, where a relative path starts.
            deadline: Seconds until the session is open; None for no limit.
        """
        value = self._async.open_session(env=env, cwd=cwd, deadline=deadline)
        return arker_sync.SessionHandle(value, self._lease)

    def create_session(
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
        work = self._async.create_session(env=env, cwd=cwd, deadline=deadline)
        return self._lease.call(work)

    def get_session(self, session_id: str, *, deadline: float | None = None) -> models.Session:
        """Read a session.

        Args:
            session_id: The session's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such session in this VM.
        """
        work = self._async.get_session(session_id, deadline=deadline)
        return self._lease.call(work)

    def list_sessions(
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
        work = self._async.list_sessions(cursor=cursor, limit=limit, state=state, deadline=deadline)
        return self._lease.call(work)

    def iter_sessions(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        state: models.SessionState | str | Sequence[models.SessionState | str] | None = None,
        deadline: float | None = None,
    ) -> arker_sync.Items[models.Session]:
        """Iterate over this VM's sessions, newest first. Pages are fetched on demand.

        Args:
            cursor: Cursor of the first page: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Number of sessions per page; the server's default is 50, its maximum 1,000.
            state: Only sessions in this state or in one of these states.
            deadline: Seconds for each page; None for no limit.

        Raises:
            BadCursorError: The server rejected a cursor; the error says where to resume.
        """
        iterator = self._async.iter_sessions(cursor=cursor, page_size=page_size, state=state, deadline=deadline)
        return arker_sync.Items(iterator, self._lease)

    def delete_session(self, session_id: str, *, deadline: float | None = None) -> models.DeleteSessionResponse:
        """Delete a session and stop its commands.

        Args:
            session_id: The session's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such session in this VM.
        """
        work = self._async.delete_session(session_id, deadline=deadline)
        return self._lease.call(work)


__all__ = ["Sessions"]
