"""Run the SDK's own commands in a VM, each in a session of its own, so that the caller's sessions stay as they are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from arker import _clock
from arker._cleanup import CLEANUP_SECONDS, carry_through, end, make_or_undo
from arker._creation import NOT_DELETED
from arker._identifiers import new_ulid
from arker.errors import ArkerError, BadReplyError, NetworkError, UnavailableError, is_surely_gone

if TYPE_CHECKING:
    from arker._vm_runs import VmRuns
    from arker.models import CompletedRunResult

logger = logging.getLogger("arker")

_OPENINGS: Final = 4
"""How often a session is asked for, as long as no reply names it."""
_MARK: Final = "ARKER_SESSION"
"""A variable of the session's environment, by which it is found should the reply that names it be lost."""


async def run_in_own_session(
    vm: VmRuns, command: Sequence[str], *, deadline: float | None = None
) -> CompletedRunResult:
    """Run a command in a session that exists for it alone; when the caller is cancelled, the command is stopped.

    Args:
        vm: The VM.
        command: The command, as arguments; it starts in the home directory.
        deadline: Seconds for the command; None for no bound.
    """
    session_id = await make_or_undo(_open(vm), partial(_abandon, vm))
    try:
        return await vm.run(command, session_id=session_id, deadline=deadline)
    finally:
        await carry_through(_close(vm, session_id))


async def _open(vm: VmRuns) -> str:
    mark = new_ulid()
    left = _OPENINGS
    while True:
        left -= 1
        try:
            return (await vm.create_session(env={_MARK: mark})).session_id
        except (NetworkError, BadReplyError, UnavailableError) as error:
            # Without a reply that names it, it may be there or not; and it must not stay. If it is there, it will do.
            found = None if error.outcome == "not_started" else await _find(vm, mark)
            if found is not None:
                return found
            if left == 0 or (error.outcome == "not_started" and not isinstance(error, NetworkError)):
                raise


async def _find(vm: VmRuns, mark: str) -> str | None:
    page = await vm.list_sessions(limit=1000)
    marked = (each.session_id for each in page.sessions if (each.env or {}).get(_MARK) == mark)
    return next((session_id for session_id in marked if session_id), None)


async def _abandon(vm: VmRuns, task: asyncio.Task[str]) -> None:
    await _clock.wait({task}, CLEANUP_SECONDS)
    await end(task)
    if not task.cancelled() and task.exception() is None:
        await _close(vm, task.result())


async def _close(vm: VmRuns, session_id: str) -> None:
    try:
        answer = await vm.delete_session(session_id, deadline=CLEANUP_SECONDS)
        problem = None if answer.deleted else NOT_DELETED
    except ArkerError as error:
        problem = None if is_surely_gone(error) else str(error)
    if problem is not None:
        logger.warning("session %s of VM %s could not be closed: %s", session_id, vm.id, problem)


__all__ = ["run_in_own_session"]
