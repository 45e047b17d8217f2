"""A pseudo-terminal of a VM, seen from the server: its bytes in both directions, its size and the end of its program.

The terminal is made inside the VM, where it has its place in the VM's own ``/dev/pts``. The server holds the other end,
and nothing else of it: neither descriptor nor name is shared with another VM.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack

from arker.emulator.sandbox.base import HOME, RunExit, SandboxError, TerminalSpec
from arker.emulator.sandbox.host.inside import Inside
from arker.emulator.sandbox.host.machine import Machine
from arker.emulator.sandbox.host.supervised import Supervised, exit_status

_PIECE = 64 * 1024
"""Bytes that are read at most before they are passed on."""
_LOOK_AGAIN = 0.05
"""Seconds until the terminal is read again when no process has it open, but its program goes on."""
_IUTF8 = 0o40000
"""The mode of Linux in which erasing removes a whole character of UTF-8; the module has no name for it everywhere."""


class AgentTerminal(Supervised):
    """The `TerminalHandle` of a program that an agent's supervisor looks after."""

    def __init__(
        self, *, terminal: int, control: socket.socket, at_stuck: Callable[[], None], look_after: Callable[[], None]
    ) -> None:
        """Take the terminal's outer end, and the supervisor's socket."""
        super().__init__(control=control, at_stuck=at_stuck, look_after=look_after)
        os.set_blocking(terminal, False)
        self._fd = terminal
        self._open = True
        self._killed = False
        self._exit: asyncio.Future[RunExit] = self._loop.create_future()
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        self._turn = asyncio.Lock()
        self._started: asyncio.Future[None] = self._loop.create_future()

    async def refusal(self) -> str | None:
        """Return why the program could not be started, as a message for people; None once it has been started."""
        await asyncio.shield(self._started)
        return self._failure

    async def read(self) -> bytes:
        while self._open:
            data, hung_up = self._take_in()
            if data:
                return data
            if self._exit.done():
                break
            # While no process has the terminal open there is nothing to wait for.
            await self._readable(_LOOK_AGAIN if hung_up else None)
        return b""

    def _take_in(self) -> tuple[bytes, bool]:
        """Return what there is, and whether no process has the terminal open."""
        pieces: list[bytes] = []
        size = 0
        try:
            while size < _PIECE:
                piece = os.read(self._fd, _PIECE - size)
                if not piece:
                    return b"".join(pieces), True
                pieces.append(piece)
                size += len(piece)
        except BlockingIOError:
            return b"".join(pieces), False
        except OSError:
            return b"".join(pieces), True
        return b"".join(pieces), False

    async def _readable(self, timeout: float | None) -> None:
        self._reading = waiting = self._loop.create_future()
        timer = None
        if timeout is None:
            self._loop.add_reader(self._fd, _wake, waiting)
        else:
            timer = self._loop.call_later(timeout, _wake, waiting)
        try:
            await waiting
        finally:
            self._reading = None
            if timer is not None:
                timer.cancel()
            elif self._open:
                self._loop.remove_reader(self._fd)

    async def write(self, data: bytes) -> None:
        async with self._turn:
            view = memoryview(data)
            while view and self._open and not self._exit.done():
                try:
                    view = view[os.write(self._fd, view) :]
                except BlockingIOError:
                    await self._writable()
                except OSError:  # no process has it open
                    return

    async def _writable(self) -> None:
        self._writing = waiting = self._loop.create_future()
        self._loop.add_writer(self._fd, _wake, waiting)
        try:
            await waiting
        finally:
            self._writing = None
            if self._open:
                self._loop.remove_writer(self._fd)

    def resize(self, cols: int, rows: int) -> None:
        if self._open:
            set_size(self._fd, cols, rows)

    async def wait(self) -> RunExit:
        return await asyncio.shield(self._exit)

    async def kill(self) -> None:
        self._killed = self._killed or not self._exit.done()
        await super().kill()

    def _take(self, word: str, rest: str) -> None:
        status = exit_status(word, rest)
        if word == "started":
            _wake(self._started)
        elif status is not None:
            self._settle(status)

    def _settle(self, status: int | None = None) -> None:
        if self._exit.done():
            return
        self._ended_at = self._loop.time()
        if self._killed:
            self._exit.set_result(RunExit(exit_code=None, reason="killed"))
        elif status is None:
            reason = self._failure or "the VM's processes were killed under the terminal"
            self._exit.set_result(RunExit(exit_code=None, reason=reason))
        else:
            self._exit.set_result(RunExit(exit_code=status))
        for waiting in (self._started, self._reading, self._writing):
            if waiting is not None:
                _wake(waiting)

    def close(self) -> None:
        """Close the server's end. What still has the terminal open finds it gone."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            os.close(self._fd)

    def _close(self) -> None:
        """Leave the terminal open: what its program has written last may not have been read yet."""


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def set_size(fd: int, cols: int, rows: int) -> None:
    """Set a terminal's size in characters. Its program gets SIGWINCH if that changes it."""
    import fcntl  # not a module of every system
    import termios

    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


def _prepare(fd: int, spec: TerminalSpec) -> None:
    import termios  # not a module of every system

    modes = termios.tcgetattr(fd)
    modes[0] |= getattr(termios, "IUTF8", _IUTF8)
    termios.tcsetattr(fd, termios.TCSANOW, modes)
    set_size(fd, spec.cols, spec.rows)


async def start_terminal(machine: Machine, inside: Inside, spec: TerminalSpec) -> AgentTerminal:
    """Start a program in a terminal of its own.

    Raises:
        SandboxError: the VM refused it.
        LinkClosedError: the VM died.
    """
    reply = await machine.link.request("open_terminal")
    with ExitStack() as made:
        for fd in reply.fds:
            made.callback(os.close, fd)
        if len(reply.fds) != 2:
            machine.kill()
            raise SandboxError("internal", "the VM's agent gave an answer that makes no sense")
        outer, inner = reply.fds
        try:
            _prepare(outer, spec)
        except OSError:  # it is no terminal
            machine.kill()
            raise SandboxError("internal", "the VM's agent gave an answer that makes no sense") from None
        ours, theirs = socket.socketpair()
        made.pop_all()
    terminal = AgentTerminal(terminal=outer, control=ours, at_stuck=machine.kill, look_after=machine.look_after)
    try:
        await machine.link.request(
            "start_in_terminal",
            {
                "argv": [spec.command] if spec.command is not None else [inside.bash, "--login"],
                "cwd": inside.to_inside(spec.cwd),
                "home": inside.to_inside(HOME),
                "env": dict(spec.env),
            },
            fds=[theirs.detach(), inner],
        )
    except BaseException:
        terminal.abandon()
        terminal.close()
        raise
    return terminal


__all__ = ["AgentTerminal", "start_terminal"]
