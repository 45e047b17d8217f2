"""Commands that the SDK itself runs in a VM: each in a session of its own, so that the caller's are as they were."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from arker._cleanup import carry_through, make_or_undo
from arker._fork import CLEANUP_SECONDS
from arker.errors import ArkerError

if TYPE_CHECKING:
    from arker._vm_runs import VmRuns
    from arker.models import CompletedRunResult, Session

logger = logging.getLogger("arker")


async def run_apart(vm: VmRuns, command: Sequence[str], *, deadline: float | None = None) -> CompletedRunResult:
    """Run a command in a session that is there for it alone; when the caller is cancelled, the command is stopped.

    Args:
        vm: The VM.
        command: The command, as arguments; it starts in the home directory.
        deadline: Seconds for the command; None for no bound.
    """
    session = await make_or_undo(vm.create_session(), partial(_abandon, vm))
    try:
        return await vm.run(command, session_id=session.session_id, deadline=deadline)
    finally:
        await carry_through(_close(vm, session.session_id))


async def _close(vm: VmRuns, session_id: str) -> None:
    try:
        await vm.delete_session(session_id, deadline=CLEANUP_SECONDS)
    except ArkerError as error:
        if error.status != 404:
            logger.warning("session %s of VM %s could not be closed: %s", session_id, vm.id, error)


async def _abandon(vm: VmRuns, task: asyncio.Task[Session]) -> None:
    await asyncio.wait({task}, timeout=CLEANUP_SECONDS)
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled() and task.exception() is None:
        await _close(vm, task.result().session_id)


__all__ = ["run_apart"]
