"""The sessions of the SDK's own that a client keeps in its VMs, for the commands that come next.

A session runs one command at a time, and a command that is run in one leaves it as it was. So a command takes one that
is free, or opens another. One that a command did not end well in is closed, which stops the command, and never used
again.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from attrs import define, field

from arker._context import Context, Kept, Place
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
"""The most commands of one VM and one event loop at once, by `OwnSessions.run`; further ones wait."""
_KEPT: Final = 4
"""The most free sessions of a VM at which such a command leaves its own to the next."""
_STEP: Final = 0.01


@define(eq=False)
class OwnSession:
    """A session of the SDK's own.

    Attributes:
        session_id: Its id.
        cwd: Its directory, which stays as it is.
        env: Its environment, likewise; None if the server does not report it.
    """

    session_id: str
    cwd: str | None
    env: Mapping[str, str] | None = field(repr=False)


class OwnSessions:
    """The client's own sessions in one VM, shared by all of its handles on it, loops and threads.

    Attributes:
        tools: The tools that the VM has, once they have been looked for.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.tools: frozenset[str] | None = None
        self._lock = threading.Lock()
        self._free: list[OwnSession] = []
        self._held: set[OwnSession] = set()
        self._slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            weakref.WeakKeyDictionary()
        )

    # --- one session ----------------------------------------------------------------------------------------------

    def take(self) -> OwnSession | None:
        """Take a free session, if there is one."""
        with self._lock:
            return self._free.pop() if self._free else None

    async def open(self) -> OwnSession:
        """Open another session."""
        made = await open_own_session(self.place)
        return OwnSession(made.session_id, made.cwd, made.env)

    def give_back(self, session: OwnSession, *, most: int | None = None) -> bool:
        """Keep a session that nothing goes on in, unless so many are free already; return whether it is kept."""
        with self._lock:
            if most is not None and len(self._free) >= most:
                return False
            self._free.append(session)
        return True

    async def hold(self) -> OwnSession:
        """Return a session for what goes on longer than one command. It is deleted with the client at the latest."""
        session = self.take() or await self.open()
        with self._lock:
            self._held.add(session)
        return session

    async def release(self, session: OwnSession) -> None:
        """Delete a session that was held, unless it has gone with its VM or with the client."""
        with self._lock:
            if session not in self._held:
                return
            self._held.discard(session)
        await clean_up(close_own_session(self.place, session.session_id))

    def clear(self) -> list[OwnSession]:
        """Forget all sessions, and return those that nothing of the caller's goes on in."""
        with self._lock:
            sessions = [*self._free, *self._held]
            self._free.clear()
            self._held.clear()
        return sessions

    # --- one command ----------------------------------------------------------------------------------------------

    async def run(self, command: Sequence[str]) -> CompletedRunResult:
        """Run a command, which starts in the home directory. If the caller is cancelled, the command is stopped."""
        loop = running_loop()
        slots = self._slots.get(loop)
        if slots is None:
            slots = self._slots.setdefault(loop, asyncio.Semaphore(_AT_ONCE))
        async with slots:
            while True:
                kept = self.take()
                session = kept if kept is not None else await self.open()
                try:
                    return await self._run(session, command)
                except NotFoundError as error:
                    # Someone may have deleted the session meanwhile, and then the command was never begun.
                    if kept is None or error.outcome != "not_started":
                        raise

    async def _run(self, session: OwnSession, command: Sequence[str]) -> CompletedRunResult:
        request = RunRequest(command=command, session_id=session.session_id)
        try:
            result = await commands.run(self.place, request, new_idempotency_key())
        except NotFoundError as error:
            if error.outcome != "not_started":
                await self._close(session)
            raise
        except BaseException:
            await self._close(session)
            raise
        if self.place.context.blocks.closing or not self.give_back(session, most=_KEPT):
            await self._close(session)
        return result

    async def _close(self, session: OwnSession) -> None:
        await clean_up(close_own_session(self.place, session.session_id))


class OwnSessionsByVm(Kept):
    """A client's own sessions, by their VMs."""

    def __init__(self, context: Context) -> None:
        self._vms: dict[tuple[str, str], OwnSessions] = {}
        self._deleting = 0
        self._lock = threading.Lock()

    def of(self, place: Place) -> OwnSessions:
        """Return those of one VM."""
        key = (place.base_url, place.vm_id)
        found = self._vms.get(key)
        return found if found is not None else self._vms.setdefault(key, OwnSessions(place))

    def forget(self, base_url: str, vm_id: str) -> None:
        """Forget those of a VM that was deleted: they go with it."""
        found = self._vms.pop((base_url, vm_id), None)
        if found is not None:
            found.clear()

    async def close(self) -> None:
        """Delete all of them, but those that something of the caller's may go on in."""
        with self._lock:
            every = [self._vms.popitem()[1] for _ in range(len(self._vms))]
            sessions = [(each.place, session) for each in every for session in each.clear()]
            self._deleting += 1
        try:
            if sessions:
                await clean_up(_delete(sessions))
        except asyncio.CancelledError:
            if not hurry.asked():
                raise
            hurry.left_behind(*(f"session {session.session_id} of VM {place.vm_id}" for place, session in sessions))
        finally:
            with self._lock:
                self._deleting -= 1
        # Another task may be deleting them: its connections must not end meanwhile.
        end = clock.now() + CLEANUP_SECONDS
        while self._deleting and clock.now() < end and not hurry.expired():
            await clock.sleep(_STEP)


async def _delete(sessions: list[tuple[Place, OwnSession]]) -> None:
    await asyncio.gather(*(close_own_session(place, session.session_id) for place, session in sessions))


def own_sessions(place: Place) -> OwnSessions:
    """Return the client's own sessions in a VM."""
    return place.context.kept(OwnSessionsByVm).of(place)


__all__ = ["OwnSession", "OwnSessions", "own_sessions"]
