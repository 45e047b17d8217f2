"""The SDK's own commands in a VM, each in its own session, so that the caller's sessions do not change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from arker._context import Place
from arker._lifecycle.creation import NOT_DELETED
from arker._protocol.calls import sessions as session_calls
from arker._protocol.identifiers import new_idempotency_key, new_ulid
from arker._runs import commands
from arker._tasks import clock
from arker._tasks.cleanup import CLEANUP_SECONDS, clean_up, end, make_or_undo
from arker.errors import ArkerError, BadReplyError, InvalidStateError, NetworkError, UnavailableError
from arker.errors.api import is_surely_gone
from arker.models import CreateSessionRequest, RunRequest

if TYPE_CHECKING:
    from arker.models import CompletedRunResult, Session

logger = logging.getLogger("arker")

_OPENINGS: Final = 4
"""How often a session is requested while no reply names it."""
_MARK: Final = "ARKER_SESSION"
"""A variable of the session's environment that identifies it if the reply with its id is lost."""


async def run_in_own_session(
    place: Place, command: Sequence[str], *, deadline: float | None = None
) -> CompletedRunResult:
    """Run a command in its own session. If the caller is cancelled, the command is stopped.

    Args:
        place: The VM.
        command: The command, as arguments; it starts in the home directory.
        deadline: Seconds for the command; None for no bound.
    """
    session_id = (await open_own_session(place)).session_id
    try:
        return await commands.run(
            place, RunRequest(command=command, session_id=session_id), new_idempotency_key(), deadline=deadline
        )
    finally:
        await clean_up(close_own_session(place, session_id))


async def open_own_session(place: Place) -> Session:
    """Open a session. If the caller is cancelled meanwhile, it is closed again."""
    return await make_or_undo(_open(place), partial(_abandon, place))


async def _open(place: Place) -> Session:
    mark = new_ulid()
    request = CreateSessionRequest(env={_MARK: mark})
    left = _OPENINGS
    while True:
        left -= 1
        try:
            return await place.send(session_calls.create_session(place, request))
        except (NetworkError, BadReplyError, UnavailableError) as error:
            # Without a reply the session may or may not exist, and it must not stay. If it exists, it is used.
            found = None if error.outcome == "not_started" else await _find(place, mark)
            if found is not None:
                return found
            if left == 0 or (error.outcome == "not_started" and not isinstance(error, NetworkError)):
                raise


async def _find(place: Place, mark: str) -> Session | None:
    page = await place.send(session_calls.list_sessions(place, session_calls.SessionsQuery(limit=1000)))
    marked = (each for each in page.sessions if (each.env or {}).get(_MARK) == mark)
    return next((session for session in marked if session.session_id), None)


async def _abandon(place: Place, task: asyncio.Task[Session]) -> None:
    await clock.wait({task}, CLEANUP_SECONDS)
    await end(task)
    if not task.cancelled() and task.exception() is None:
        await close_own_session(place, task.result().session_id)


async def close_own_session(place: Place, session_id: str) -> None:
    """Delete a session with what goes on in it. Log a warning if it may still exist."""
    try:
        answer = await place.send(session_calls.delete_session(place, session_id), deadline=CLEANUP_SECONDS)
        problem = None if answer.deleted else NOT_DELETED
    except ArkerError as error:
        # Nothing runs in a VM that has been made immutable, and its sessions stay as they are.
        is_fixed = isinstance(error, InvalidStateError) and error.details.get("requirement") == "mutable"
        problem = None if is_fixed or is_surely_gone(error) else str(error)
    if problem is not None:
        logger.warning("session %s of VM %s could not be closed: %s", session_id, place.vm_id, problem)


__all__ = ["close_own_session", "open_own_session", "run_in_own_session"]
