"""Terminals of a VM. A part of `AsyncVM`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import arker
from arker import models
from arker._protocol.calls import terminals as calls
from arker._terminals.connection import Settings, Size
from arker._vm.base import VmBase
from arker.errors import InvalidArgumentError
from arker.models import _checks as check

_TERM: Final = "xterm-256color"
_PROGRAM: Final = "the absolute path of a program in the VM; write a command line to the shell in it"


class Terminals(VmBase):
    """The terminal methods of `AsyncVM`."""

    def terminal(
        self,
        command: str | None = None,
        *,
        cols: int = 80,
        rows: int = 24,
        session_id: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        persist: bool = True,
        idle_timeout: float | None = None,
        reconnect: float = 60.0,
        deadline: float | None = None,
    ) -> arker.AsyncTerminal:
        """Return a terminal for ``async with``. The block opens it, and closes it at the end.

        Without a ``session_id`` it has a session of its own, which is deleted at the end. In a given session the
        program goes on after the block, and a later call attaches to it again. Meanwhile the session runs no commands.

        Args:
            command: The absolute path of a program without arguments; by default the login shell. It does not matter
                if the session's terminal runs already.
            cols: Width in characters, up to 1,000.
            rows: Height in lines, up to 1,000.
            session_id: The session to use.
            env: Environment variables of a session of its own. ``TERM`` is ``xterm-256color`` unless it is among them.
            cwd: Initial working directory of a session of its own; by default the home directory.
            persist: Whether the program goes on when the connection is lost or closed. Otherwise its end is that of
                the connection, which is not made again.
            idle_timeout: Seconds after which the server ends the program while no connection is there, rounded up to
                whole ones; None for the server's own rule.
            reconnect: Seconds for which a lost connection is made again; 0 for one attempt.
            deadline: Seconds until the terminal is open; None for no limit.
        """
        if command is not None and not check.check_text("command", command, what=_PROGRAM).startswith("/"):
            raise InvalidArgumentError("command", command, f"expected {_PROGRAM}")
        own = session_id is None
        for name, value in (("env", env), ("cwd", cwd)):
            if value is not None and not own:
                raise InvalidArgumentError(name, "(not shown)", "expected none with session_id, whose own it has")
        if idle_timeout is not None and persist is False:
            expected = "expected it without persist=False, with which the program ends with the connection"
            raise InvalidArgumentError("idle_timeout", idle_timeout, expected)
        seconds = None if idle_timeout is None else math.ceil(check.check_seconds("idle_timeout", idle_timeout))
        settings = Settings(
            command=command,
            persist=check.check_boolean("persist", persist),
            idle_seconds=seconds,
            reconnect=check.check_seconds("reconnect", reconnect, allow_zero=True),
        )
        # The request checks what is given, before it is merged.
        request = models.CreateSessionRequest(env=env, cwd=cwd)
        if own:
            request = models.CreateSessionRequest(env={"TERM": _TERM, **(request.env or {})}, cwd=cwd)
        return arker.AsyncTerminal(
            self._place,
            settings,
            Size(calls.check_size("cols", cols), calls.check_size("rows", rows)),
            None if session_id is None else check.check_id("session_id", session_id),
            request,
            None if deadline is None else check.check_seconds("deadline", deadline),
        )

    async def create_pty_ticket(self, session_id: str, *, deadline: float | None = None) -> models.PtyTicketResponse:
        """Create a ticket, with which another program, such as a browser, can attach to a session's terminal.

        It opens a WebSocket at ``{base_url}/v1/vms/{vm_id}/sessions/{session_id}/pty?ticket=…``.

        Args:
            session_id: The session's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such session in this VM.
            UnsupportedOperationError: The server speaks generation 0.5.
        """
        call = calls.create_ticket(self._place, check.check_id("session_id", session_id))
        return await self._place.send(call, deadline=deadline)


__all__ = ["Terminals"]
