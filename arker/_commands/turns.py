"""What a client has going on in one VM, and the turns of its commands there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import define, field

from arker._commands.shell import READ_ONLY, Origin
from arker._lifecycle.own_sessions import OwnSession
from arker.errors import ArkerError, RunFailedError

if TYPE_CHECKING:
    from arker._context import Place
    from arker.models import Session

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OF_ONE_SHELL: Final = frozenset({"_", "PWD", "SHLVL", *READ_ONLY})
"""Variables that each shell sets for itself."""
_NONE: Final[Mapping[Any, Any]] = MappingProxyType({})


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

    One is made for each command, and most VMs never have anything in the collections: so they are immutable, and are
    replaced when something changes. Empty ones of their own would take five times as long to make.

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
    left: frozenset[Turn] = frozenset()
    total: int = 0
    doubtful: Mapping[OwnSession, Turn] = _NONE
    waiting: tuple[asyncio.Future[OwnSession | None], ...] = ()
    asking: int = 0
    ended: int = 0
    known: tuple[int, Session] | None = None
    gone: bool = False

    def is_unused(self) -> bool:
        """Return whether nothing goes on in the VM, and no command has one of the SDK's own sessions."""
        return not (self.calls or self.left or self.total or self.asking)

    def doubt(self, session: OwnSession, turn: Turn) -> None:
        """Note that what was run in a turn may go on in a session."""
        self.doubtful = {**self.doubtful, session: turn}

    def trust(self, session: OwnSession) -> None:
        """Note that nothing of a turn goes on in a session, or that the session has gone."""
        self.doubtful = {other: turn for other, turn in self.doubtful.items() if other is not session}

    def next_waiting(self) -> asyncio.Future[OwnSession | None]:
        """Take the command that has waited longest."""
        first, *rest = self.waiting
        self.waiting = tuple(rest)
        return first

    def stop_waiting(self, waiting: asyncio.Future[OwnSession | None]) -> None:
        """Let a command wait no more."""
        self.waiting = tuple(each for each in self.waiting if each is not waiting)


@define(eq=False)
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
