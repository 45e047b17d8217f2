# Generated from arker/_vm/terminals.py by "nox -s facade": change that file, not this one.
"""Terminals of a VM. A part of `VM`."""

from __future__ import annotations

from collections.abc import Mapping

import arker_sync
from arker import models
from arker_sync._vm.base import VmBase


class Terminals(VmBase):
    """The terminal methods of `VM`."""

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
    ) -> arker_sync.Terminal:
        """Return a terminal for ``with``. The block opens it, and closes it at the end.

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
        value = self._async.terminal(
            command,
            cols=cols,
            rows=rows,
            session_id=session_id,
            env=env,
            cwd=cwd,
            persist=persist,
            idle_timeout=idle_timeout,
            reconnect=reconnect,
            deadline=deadline,
        )
        return arker_sync.Terminal(value, self._lease)

    def create_pty_ticket(self, session_id: str, *, deadline: float | None = None) -> models.PtyTicketResponse:
        """Create a ticket, with which another program, such as a browser, can attach to a session's terminal.

        It opens a WebSocket at ``{base_url}/v1/vms/{vm_id}/sessions/{session_id}/pty?ticket=…``.

        Args:
            session_id: The session's id.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such session in this VM.
            UnsupportedOperationError: The server speaks generation 0.5.
        """
        work = self._async.create_pty_ticket(session_id, deadline=deadline)
        return self._lease.call(work)


__all__ = ["Terminals"]
