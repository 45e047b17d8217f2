"""Resources of a VM that exist for a block: removed at its end, and also when their creation is cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from arker._lifecycle.undoing import undo
from arker._tasks import hurry
from arker._tasks.cleanup import make_or_undo
from arker._transport.attempts import Progress
from arker.errors import ArkerError, InternalError
from arker.errors.api import is_gone, is_surely_gone

if TYPE_CHECKING:
    from arker._context import Context
    from arker._protocol.request import Call

T = TypeVar("T")

logger = logging.getLogger("arker")


class Creation(Generic[T]):
    """One creating POST, such as that of a session or a tunnel.

    It is not repeated when its outcome is unknown (contract, section 3). A cancelled caller gets no resource, so none
    may stay: a request that was sent is awaited, since only its reply has the id, and the resource is removed. The
    cancellation goes on afterwards, after `CLEANUP_SECONDS` at the latest.
    """

    __slots__ = ("_call", "_context", "_remove", "_what", "progress")

    def __init__(self, context: Context, call: Call[T], remove: Callable[[T], Call[Any]], what: str) -> None:
        """Prepare a creation.

        Args:
            context: The context of the client.
            call: The creating call.
            remove: Removes the resource.
            what: The resource's name, for the log.
        """
        self._context = context
        self._call = call
        self._remove = remove
        self._what = what
        self.progress = Progress(call.operation, makes=True)

    async def send(self) -> T:
        """Send the creating POST, and return the resource."""
        return await make_or_undo(self._context.send(self._call, progress=self.progress), self._undo)

    async def _undo(self, task: asyncio.Task[T]) -> None:
        async def removed() -> None:
            await asyncio.wait({task})
            if not task.cancelled():
                await self._delete(task.result())
            # A loop that is being shut down cancels every task.
            elif self.progress.may_have_begun:
                raise ArkerError("its answer was not waited for")

        problem = await undo(task, self.progress, remove=removed, what=lambda: self._what)
        if problem is not None:
            logger.warning("%s was given up, and may exist: %s", self._what, problem)

    async def _delete(self, made: T) -> None:
        try:
            answer = await self._context.send(self._remove(made))
        except ArkerError as error:
            if not is_surely_gone(error):
                raise error.with_context(outcome="applied") from None
        else:
            if not answer.deleted:
                raise InternalError(NOT_DELETED, outcome="applied")


class Deleted(Protocol):
    """The reply to a deletion."""

    @property
    def deleted(self) -> bool:
        """Whether the server confirms the deletion."""
        ...


NOT_DELETED: Final = "the server says that it was not deleted"


async def remove(deleting: Coroutine[Any, Any, Deleted], what: str, *, raising: bool) -> None:
    """Send a deletion. A resource that is already gone counts as deleted.

    Args:
        deleting: The deletion.
        what: The resource's name, for the log.
        raising: Whether to raise a failure, or only log it because another exception is being raised.
    """
    try:
        answer = await deleting
        if not answer.deleted:
            raise InternalError(f"{what}: {NOT_DELETED}", status=200)
    except ArkerError as error:
        if is_surely_gone(error):
            return
        # A proxy's answer is no proof, and no reason to raise.
        if raising and not is_gone(error):
            raise
        logger.warning("%s could not be deleted and may still exist: %s", what, error)
    except asyncio.CancelledError:
        if not hurry.asked():
            raise
        hurry.left_behind(what)


__all__ = ["NOT_DELETED", "Creation", "remove"]
