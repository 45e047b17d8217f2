"""Sessions of the SDK's own that are kept for its next commands, a few for each VM.

A session runs one command at a time. So a command takes one that is free, or opens another. One that a command did not
end well in is closed, which stops the command, and never used again.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from arker._context import Place
from arker._lifecycle.sdk_session import close_own_session, open_own_session
from arker._protocol.identifiers import new_idempotency_key
from arker._runs import commands
from arker._tasks import clock, hurry
from arker._tasks.cleanup import CLEANUP_SECONDS, clean_up
from arker._tasks.running_loop import running_loop
from arker.errors import NotFoundError
from arker.models import RunRequest

if TYPE_CHECKING:
    from arker.models import CompletedRunResult

_AT_ONCE: Final = 8
"""The most commands of one VM and one event loop at once; further ones wait."""
_KEPT: Final = 4
"""The most free sessions of a VM that are kept."""


class KeptSessions:
    """The kept sessions of one VM, shared by all of a client's handles on it, loops and threads.

    Attributes:
        tools: The tools that the VM has, once they have been looked for.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.tools: frozenset[str] | None = None
        self._free: deque[str] = deque()
        self._slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            weakref.WeakKeyDictionary()
        )

    async def run(self, command: Sequence[str]) -> CompletedRunResult:
        """Run a command, which starts in the home directory. If the caller is cancelled, the command is stopped."""
        loop = running_loop()
        slots = self._slots.get(loop)
        if slots is None:
            slots = self._slots.setdefault(loop, asyncio.Semaphore(_AT_ONCE))
        async with slots:
            while True:
                kept = self._take()
                session_id = kept if kept is not None else await self._opened()
                try:
                    return await self._run(session_id, command)
                except NotFoundError as error:
                    # Someone may have deleted the session meanwhile, and then the command was never begun.
                    if kept is None or error.outcome != "not_started":
                        raise

    async def _opened(self) -> str:
        return (await open_own_session(self._place)).session_id

    def _take(self) -> str | None:
        try:
            return self._free.pop()
        except IndexError:
            return None

    async def _run(self, session_id: str, command: Sequence[str]) -> CompletedRunResult:
        request = RunRequest(command=command, session_id=session_id)
        try:
            result = await commands.run(self._place, request, new_idempotency_key())
        except NotFoundError as error:
            if error.outcome != "not_started":
                await clean_up(close_own_session(self._place, session_id))
            raise
        except BaseException:
            await clean_up(close_own_session(self._place, session_id))
            raise
        if len(self._free) < _KEPT and not self._place.context.blocks.closing:
            self._free.append(session_id)
        else:
            await clean_up(close_own_session(self._place, session_id))
        return result

    async def close(self) -> None:
        """Delete the free sessions, within a bound."""
        with clock.move_on_after(hurry.bound(CLEANUP_SECONDS)):
            while (session_id := self._take()) is not None:
                await close_own_session(self._place, session_id)


def kept_sessions(place: Place) -> KeptSessions:
    """Return the kept sessions of a VM."""
    found = place.context.kept.setdefault((place.base_url, place.vm_id), KeptSessions(place))
    assert isinstance(found, KeptSessions)
    return found


__all__ = ["KeptSessions", "kept_sessions"]
