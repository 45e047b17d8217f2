"""What a supervisor in a VM looks after, seen from the server: its start, what the supervisor says, and its kill."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from arker.emulator.sandbox.base import SandboxError

STUCK = 3.0
"""How long a supervisor may take to kill its processes, before the whole VM is killed from outside."""
LOOK = 1.0
"""How often to check whether something in the VM has stopped the process that reports the end."""


class Supervised:
    """Processes of a VM that an agent's supervisor looks after."""

    def __init__(self, *, control: socket.socket, at_stuck: Callable[[], None], look_after: Callable[[], None]) -> None:
        """Take the server's end of the supervisor's socket.

        Args:
            control: The socket.
            at_stuck: Called when the supervisor does not kill its processes.
            look_after: Called now and then while they run.
        """
        control.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._control = control
        self._at_stuck = at_stuck
        self._look_after = look_after
        self._looking = self._loop.call_later(LOOK, self._look)
        self._lines = b""
        self._failure: str | None = None
        self._ended_at: float | None = None
        self.starting: asyncio.Future[bool] = self._loop.create_future()
        """True once the command may have begun; False when it surely never will."""
        self._gone = asyncio.Event()
        self._loop.add_reader(control, self._hear)

    @property
    def going(self) -> bool:
        """Whether the command or something that it started in the background is still running."""
        return not self._gone.is_set()

    @property
    def ended_at(self) -> float | None:
        """The time at which the command itself ended, by the loop's clock."""
        return self._ended_at

    async def wait_gone(self) -> None:
        await self._gone.wait()

    async def kill(self) -> None:
        """Kill everything that the command started, background children included."""
        self._tell("kill")
        try:
            await asyncio.wait_for(self._gone.wait(), STUCK)
        except asyncio.TimeoutError:  # something in the VM has stopped or outrun the supervisor
            self._at_stuck()
            self.abandon()

    async def signal(self, number: int) -> None:
        """Send a signal to the command and what it runs in the foreground."""
        if not 0 < number < 65:
            raise SandboxError("bad_request", f"there is no signal {number}")
        self._tell(f"signal {number}")

    def abandon(self) -> None:
        """Abandon it: the VM has ended, and nothing more will arrive."""
        self._end()

    def _look(self) -> None:
        self._look_after()
        self._looking = self._loop.call_later(LOOK, self._look)

    def _tell(self, line: str) -> None:
        if self.going:
            with contextlib.suppress(OSError):  # the supervisor has ended: the end of its socket is about to be read
                self._control.send(line.encode() + b"\n")

    def _hear(self) -> None:
        try:
            data = self._control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, self._lines = (self._lines + data).split(b"\n")
        for line in lines:
            word, _, rest = line.decode("utf-8", "replace").partition(" ")
            if word == "starting" and not self.starting.done():
                self.starting.set_result(True)
            elif word == "failed" and self._failure is None:
                self._failure = f"the command could not be started: {rest[:500]}"
            else:
                self._take(word, rest)
        if not data or len(self._lines) > 65536:
            self._end()

    def _take(self, word: str, rest: str) -> None:
        """Take another word of the supervisor's, and what follows it."""
        raise NotImplementedError

    def _settle(self) -> None:
        """Settle how the command ended."""
        raise NotImplementedError

    def _close(self) -> None:
        """Close what only this object holds."""
        raise NotImplementedError

    def _end(self) -> None:
        if self._gone.is_set():
            return
        if not self.starting.done():
            self.starting.set_result(False)
        self._settle()
        self._looking.cancel()
        self._loop.remove_reader(self._control)
        self._control.close()
        self._close()
        self._gone.set()


def exit_status(word: str, rest: str) -> int | None:
    """Return the status that a supervisor reports; None if it reports something else."""
    return int(rest) if word == "exit" and rest.isdigit() and len(rest) < 4 else None


__all__ = ["STUCK", "Supervised", "exit_status"]
