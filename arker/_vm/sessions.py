"""Sessions of a VM. A part of `AsyncVM`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import arker
from arker import models
from arker._protocol.calls import sessions as session_calls
from arker._protocol.pages import Pages, next_cursor
from arker._vm.base import VmBase
from arker.models import _checks as check


class Sessions(VmBase):
    """The calls of `AsyncVM` on sessions."""

    def open_session(
        self, *, env: Mapping[str, str] | None = None, cwd: str | None = None, deadline: float | None = None
    ) -> arker.AsyncSession:
        """A session of its own, for ``async with``: opened at the begin of the block, deleted at its end.

        Args:
            env: Variables beside those that every session has.
            cwd: Working directory to start in; the home directory unless given. A relative path counts from there.
            deadline: Seconds until it is open; None for no bound.
        """
        bound = None if deadline is None else check.check_seconds("deadline", deadline)
        return arker.AsyncSession(self._place, models.CreateSessionRequest(env=env, cwd=cwd), bound)

    async def create_session(
        self, *, env: Mapping[str, str] | None = None, cwd: str | None = None, deadline: float | None = None
    ) -> models.Session:
        """A new session: like a terminal tab, with a working directory and an environment of its own.

        Run commands in it with ``run(..., session_id=session.session_id)``.

        Args:
            env: Variables beside those that every session has.
            cwd: Working directory to start in; the home directory unless given. A relative path counts from there.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            BadRequestError: The working directory is not there.
        """
        request = models.CreateSessionRequest(env=env, cwd=cwd)
        return await self._place.send(session_calls.create_session(self._place, request), deadline=deadline)

    async def get_session(self, session_id: str, *, deadline: float | None = None) -> models.Session:
        """A session as it is now.

        Args:
            session_id: The session's id.
            deadline: Seconds for the whole call; None for no bound.

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
        """A page of this VM's sessions, newest first (contract, section 5).

        Args:
            cursor: Where to go on: ``next_cursor`` of the page before.
            limit: Sessions on the page; the server takes 50 unless told, and at most 1,000.
            state: Only sessions in this state, or in one of these.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            BadRequestError: The cursor is not one of this list.
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

    async def delete_session(self, session_id: str, *, deadline: float | None = None) -> models.DeleteSessionResponse:
        """Close a session; what runs in it is stopped.

        Args:
            session_id: The session's id.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such session in this VM.
        """
        call = session_calls.delete_session(self._place, check.check_id("session_id", session_id))
        return await self._place.send(call, deadline=deadline)


__all__ = ["Sessions"]
