"""What a client has going on in one VM, and the turns of its commands there."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from attrs import define, field, frozen

from arker._commands.shell import READ_ONLY, Origin
from arker._lifecycle.own_sessions import OwnSession
from arker.errors import ArkerError, RunFailedError

if TYPE_CHECKING:
    from arker._context import Place
    from arker.models import Session

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OF_ONE_SHELL: Final = frozenset({"_", "PWD", "SHLVL", *READ_ONLY})
"""Variables that each shell sets for itself."""


class Keeper(Protocol):
    """What keeps the books of turns."""

    def end(self, turn: Turn) -> None:
        """End a turn."""
        ...

    def leave(self, turn: Turn) -> None:
        """Note that what was run in a turn may go on."""
        ...

    def lose(self, turn: Turn) -> None:
        """Forget the session of a turn."""
        ...


@define(eq=False)
class VmSessions:
    """What this client has going on in one VM.

    Attributes:
        place: The VM, as the last command named it.
        calls: Calls that wait for a run in the default session.
        left: Runs there that this client started and that may still go on.
        total: How many sessions of the SDK's own its commands are in, or are about to be in.
        doubtful: Those that something may go on in, with the run that was left there.
        waiting: Commands that wait for one.
        asking: Commands that are about to get a turn.
        ended: How many runs in the default session have ended.
        known: The default session at the last look, with the number of runs that had ended before.
        gone: Whether the VM was deleted.
    """

    place: Place
    calls: int = 0
    left: set[Turn] = field(factory=set["Turn"])
    total: int = 0
    doubtful: dict[OwnSession, Turn] = field(factory=dict[OwnSession, "Turn"])
    waiting: deque[asyncio.Future[OwnSession | None]] = field(factory=deque["asyncio.Future[OwnSession | None]"])
    asking: int = 0
    ended: int = 0
    known: tuple[int, Session] | None = None
    gone: bool = False


@frozen(eq=False)
class Turn:
    """A command's turn in a session. It ends by `done`, maybe after `leave`.

    Attributes:
        keeper: The client's.
        vm: Its VM's.
        session: The session of the SDK's own that it is in; None for the default one.
        origin: What it takes over of the default session there.
    """

    keeper: Keeper = field(repr=False)
    vm: VmSessions = field(repr=False)
    session: OwnSession | None = None
    origin: Origin | None = None

    def done(self) -> None:
        """Note that nothing of the run goes on any more. Any thread may call this."""
        self.keeper.end(self)

    def leave(self) -> None:
        """Note that the run may go on without its caller."""
        self.keeper.leave(self)

    def failed(self, error: BaseException) -> None:
        """Note the error with which the call has ended."""
        over = isinstance(error, RunFailedError) or (isinstance(error, ArkerError) and error.outcome == "not_started")
        (self.done if over else self.leave)()

    def lose(self) -> None:
        """Note that its session has gone."""
        self.keeper.lose(self)


def origin_of(session: OwnSession, default: Session | None) -> Origin:
    """Return what has to be set in a subshell of one session, so that it is as one of the default session."""
    if default is None:
        return Origin()
    cwd = default.cwd if default.cwd != session.cwd else None
    before, wanted = session.env, default.env
    if before is None or wanted is None:
        return Origin(cwd)
    names = [name for name in {**before, **wanted} if _NAME.fullmatch(name) and name not in _OF_ONE_SHELL]
    changed = {name: wanted[name] for name in names if name in wanted and before.get(name) != wanted[name]}
    return Origin(cwd, changed, tuple(name for name in names if name not in wanted))


def goes_on(session: Session) -> bool:
    """Return whether a session, as it was read, is running something."""
    return session.state not in ("idle", None)


__all__ = ["Keeper", "Turn", "VmSessions", "goes_on", "origin_of"]
