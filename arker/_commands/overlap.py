"""Commands at once in one VM: those that would queue in its default session run in sessions of the SDK's own.

It is as with ``( … ) &`` in a shell: such a command begins with the directory and the environment of the default
session, and changes nothing of it.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final

from arker._commands.turns import Turn, VmSessions, goes_on, origin_of
from arker._context import Context, Kept, Place
from arker._lifecycle.own_sessions import OwnSession, own_sessions
from arker._protocol.calls import sessions as session_calls
from arker._tasks import clock, hurry
from arker._tasks.running_loop import running_loop
from arker.errors import ArkerError

if TYPE_CHECKING:
    from arker.models import RunRequest, Session

_LOOK: Final = 0.5
"""Seconds between two looks at sessions in which something may still go on, while a command waits for one."""

_LAST_LOOK: Final = 2.0
"""Seconds for the looks before the client is closed."""


_KEPT: Final = 64
"""VMs whose books are kept while nothing goes on there: most commands run in a VM that others have run in."""


class Overlaps(Kept):
    """What a client has going on in its VMs, in all threads."""

    def __init__(self, context: Context) -> None:
        self._limit = context.settings.overlap_sessions
        self._lock = threading.Lock()
        self._vms: dict[tuple[str, str], VmSessions] = {}
        self._closed = False

    # --- turns ----------------------------------------------------------------------------------------------------

    def enter(self, place: Place, request: RunRequest, *, given: bool) -> Turn | bool:
        """Return the turn of a command in the default session, at once.

        Args:
            place: The VM.
            request: The run.
            given: Whether the caller has given its key: the same request may come again, and so it names no session.

        Returns:
            The turn; True if the command has to ask for another session by `overlap`; False if it goes where it says.
        """
        index = request.session_idx
        if not self._limit or request.session_id is not None or index or request.signal or not request.command.strip():
            return False
        key = (place.base_url, place.vm_id)
        with self._lock:
            vm = self._vms.get(key)
            if vm is None:
                vm = self._vms[key] = VmSessions(place)
            elif (vm.calls or vm.left) and index is None and not given:
                return True
            vm.calls += 1
            return Turn(self, vm)

    def end(self, turn: Turn) -> None:
        """End a turn."""
        vm, session = turn.vm, turn.session
        with self._lock:
            if session is None:
                if turn in vm.left:
                    vm.left -= {turn}
                else:
                    vm.calls -= 1
                vm.ended += 1
                if len(self._vms) > _KEPT:
                    self._drop_if_unused(vm)
            elif vm.doubtful.get(session, turn) is turn:
                vm.trust(session)
                self._offer(vm, session)

    def _drop_if_unused(self, vm: VmSessions) -> None:
        if vm.is_unused():
            self._vms.pop((vm.place.base_url, vm.place.vm_id), None)

    def leave(self, turn: Turn) -> None:
        """Note that what was run in a turn may go on."""
        with self._lock:
            if turn.session is not None:
                turn.vm.doubt(turn.session, turn)
            else:
                turn.vm.calls -= 1
                turn.vm.left |= {turn}

    def lose(self, turn: Turn) -> None:
        """Forget the session of a turn."""
        with self._lock:
            turn.vm.total -= 1
            self._wake(turn.vm)

    async def overlap(self, place: Place) -> Turn:
        """Return the turn of a command that may not queue in the default session, as soon as there is one."""
        with self._lock:
            vm = self._vms.setdefault((place.base_url, place.vm_id), VmSessions(place))
            vm.asking += 1
        try:
            if not vm.calls or vm.known is None or vm.known[0] != vm.ended:
                await self._look(place, vm)
            turn = self._default(vm)
            if turn is not None:
                return turn
            session = await self._own(place, vm)
        except ArkerError:
            session = None  # the command itself may have more success, or tells the reason
        finally:
            vm.asking -= 1
        if session is None:
            return self.queue(place)
        return Turn(self, vm, session, origin_of(session, None if vm.known is None else vm.known[1]))

    def queue(self, place: Place) -> Turn:
        """Return the turn of a command that queues in the default session."""
        with self._lock:
            vm = self._vms.setdefault((place.base_url, place.vm_id), VmSessions(place))
            vm.calls += 1
            return Turn(self, vm)

    def _default(self, vm: VmSessions) -> Turn | None:
        """Return a turn in the default session if nothing goes on there."""
        with self._lock:
            if vm.calls or vm.left:
                return None
            vm.calls += 1
            return Turn(self, vm)

    async def _own(self, place: Place, vm: VmSessions) -> OwnSession | None:
        """Return a free session of the SDK's own; None if there can be none."""
        while True:
            with self._lock:
                if self._closed or vm.gone:
                    return None
                if vm.total < self._limit:
                    vm.total += 1
                    break
                waiting: asyncio.Future[OwnSession | None] = running_loop().create_future()
                vm.waiting += (waiting,)
            given = await self._given(place, vm, waiting)
            if given is not None:
                return given
        own = own_sessions(place)
        try:
            return own.take() or await own.open()
        except BaseException:
            with self._lock:
                vm.total -= 1
                self._wake(vm)
            raise

    async def _given(
        self, place: Place, vm: VmSessions, waiting: asyncio.Future[OwnSession | None]
    ) -> OwnSession | None:
        """Wait until a session is given to a command; None if it is to try again."""
        try:
            while not waiting.done():
                await clock.wait({waiting}, _LOOK if vm.doubtful else None)
                if not waiting.done() and vm.doubtful:
                    await self._look(place, vm)
        except BaseException:
            with self._lock:
                vm.stop_waiting(waiting)
            if not waiting.cancel():  # it was given one, or was woken, at this moment
                given = waiting.result()
                with self._lock:
                    if given is None:
                        self._wake(vm)
                    else:
                        self._offer(vm, given)
            raise
        return waiting.result()

    def _release(self, vm: VmSessions, session: OwnSession) -> None:
        with self._lock:
            self._offer(vm, session)

    def _offer(self, vm: VmSessions, session: OwnSession) -> None:
        """Hand a session to the command that has waited longest, or leave it to others. The lock is held."""
        while vm.waiting:
            waiting = vm.next_waiting()
            try:
                waiting.get_loop().call_soon_threadsafe(self._give, vm, waiting, session)
            except RuntimeError:  # its loop has ended, and the command with it
                continue
            return
        vm.total -= 1
        if not vm.gone:
            own_sessions(vm.place).give_back(session)
        self._drop_if_unused(vm)

    def _give(self, vm: VmSessions, waiting: asyncio.Future[OwnSession | None], session: OwnSession) -> None:
        if waiting.done():
            self._release(vm, session)
        else:
            waiting.set_result(session)

    def _wake(self, vm: VmSessions) -> None:
        """Have the command that has waited longest try again. The lock is held."""
        while vm.waiting:
            waiting = vm.next_waiting()
            try:
                waiting.get_loop().call_soon_threadsafe(_again, waiting)
            except RuntimeError:  # its loop has ended, and the command with it
                continue
            return

    # --- looks ----------------------------------------------------------------------------------------------------

    async def _look(self, place: Place, vm: VmSessions) -> None:
        """Read the sessions of a VM, and note which ones nothing goes on in any more."""
        left, doubtful, ended = set(vm.left), dict(vm.doubtful), vm.ended
        known: dict[str, Session] = {}
        default: Session | None = None
        cursor: str | None = None
        while default is None:
            query = session_calls.SessionsQuery(cursor=cursor, limit=1000)
            page = await place.send(session_calls.list_sessions(place, query))
            known.update((session.session_id, session) for session in page.sessions)
            default = next((session for session in page.sessions if session.session_idx == 0), None)
            cursor = page.next_cursor
            if not cursor:
                break
        with self._lock:
            if default is not None:
                vm.known = (ended, default)
            if default is None or not goes_on(default):
                vm.left -= left
            for session, turn in doubtful.items():
                if vm.doubtful.get(session) is not turn:
                    continue
                read = known.get(session.session_id)
                if read is None and default is not None:
                    vm.trust(session)
                    vm.total -= 1
                    self._wake(vm)
                elif read is not None and not goes_on(read):
                    vm.trust(session)
                    self._offer(vm, session)

    # --- ends -----------------------------------------------------------------------------------------------------

    def forget(self, base_url: str, vm_id: str) -> None:
        """Forget a VM that was deleted."""
        with self._lock:
            vm = self._vms.pop((base_url, vm_id), None)
            if vm is not None:
                vm.gone = True
                while vm.waiting:
                    self._wake(vm)

    async def settle(self) -> None:
        """Find out in which sessions nothing goes on, before the client is closed. Nothing may wait any more."""
        with self._lock:
            self._closed = True
            vms = list(self._vms.values())
            for vm in vms:
                while vm.waiting:
                    self._wake(vm)
        with clock.move_on_after(hurry.bound(_LAST_LOOK)):
            await asyncio.gather(*(self._settle(vm) for vm in vms if vm.doubtful))

    async def _settle(self, vm: VmSessions) -> None:
        try:
            await self._look(vm.place, vm)
        except ArkerError:
            pass  # what may go on is left alone


def _again(waiting: asyncio.Future[OwnSession | None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def overlaps_of(context: Context) -> Overlaps:
    """Return what a client has going on."""
    return context.kept(Overlaps)


__all__ = ["Overlaps", "overlaps_of"]
