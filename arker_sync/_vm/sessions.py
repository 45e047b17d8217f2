# Generated from arker/_vm/sessions.py by "nox -s facade": change that file, not this one.
"""Sessions of a VM. A part of `VM`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import arker_sync
from arker import models
from arker_sync._bridge.facade import same
from arker_sync._vm.base import VmBase


class Sessions(VmBase):
    """The calls of `VM` on sessions."""

    def open_session(
        self, *, env: Mapping[str, str] | None = None, cwd: str | None = None, deadline: float | None = None
    ) -> arker_sync.SessionHandle:
        """A session of its own, for ``with``: opened at the begin of the block, deleted at its end.

        Args:
            env: Variables beside those that every session has.
            cwd: Working directory to start in; the home directory unless given.
            deadline: Seconds until it is open; None for no bound.
        """
        value = self._async.open_session(env=env, cwd=cwd, deadline=deadline)
        return arker_sync.SessionHandle(value, self._lease)

    def create_session(
        self, *, env: Mapping[str, str] | None = None, cwd: str | None = None, deadline: float | None = None
    ) -> models.Session:
        """A new session: like a terminal tab, with a working directory and an environment of its own.

        Run commands in it with ``run(..., session_id=session.session_id)``.

        Args:
            env: Variables beside those that every session has.
            cwd: Working directory to start in; the home directory unless given.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            BadRequestError: The working directory is not there.
        """
        work = self._async.create_session(env=env, cwd=cwd, deadline=deadline)
        return self._lease.call(work)

    def get_session(self, session_id: str, *, deadline: float | None = None) -> models.Session:
        """A session as it is now.

        Args:
            session_id: The session's id.
            deadline: Seconds for the whole call; None for no bound.

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
        """A page of this VM's sessions, newest first (contract, section 5).

        Args:
            cursor: Where to go on: ``next_cursor`` of the page before.
            limit: Sessions on the page; the server takes 50 unless told, and at most 1,000.
            state: Only sessions in this state, or in one of these.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            BadRequestError: The cursor is not one of this list.
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

    def delete_session(self, session_id: str, *, deadline: float | None = None) -> models.DeleteSessionResponse:
        """Close a session; what runs in it is stopped.

        Args:
            session_id: The session's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such session in this VM.
        """
        work = self._async.delete_session(session_id, deadline=deadline)
        return self._lease.call(work)


__all__ = ["Sessions"]
