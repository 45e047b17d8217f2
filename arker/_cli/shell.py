"""``arker shell``: a terminal in a VM, at this terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Generator
from contextlib import aclosing, contextmanager
from typing import Any, Final

from arker._cli import output, standard_input, statuses
from arker._cli.connection import Where, chosen_vm, connected, remove_session
from arker._cli.running import complain
from arker._tasks.cleanup import clean_up, end
from arker._tasks.threads import in_thread
from arker.errors import TerminalClosedError
from arker.terminal import AsyncTerminal
from arker.vm import AsyncVM

_ESCAPE: Final = b"~"
_LINE_ENDS: Final = b"\r\n"
_END_OF_INPUT: Final = b"\x04"
_CLEARED: Final = b"\x1bc"
"""Resets a terminal, before what a server replays is drawn on it again."""
_TERM: Final = "xterm-256color"
_LEFT: Final = -1
"""The person has left, and the terminal goes on."""


async def shell(
    vm: str,
    command: str | None = None,
    /,
    *,
    session: str | None = None,
    fork: bool = False,
    where: Where = None,
) -> int:
    """Open a terminal in a VM. ~. at the start of a line leaves it, and its shell goes on; ~~ is a single ~.

    Everything else goes to the VM as it is typed, Ctrl-C, Ctrl-Z and Ctrl-D too. The exit status is the shell's, or 125
    if the terminal could not be opened. The session's id, which is printed on leaving, takes the terminal up again with
    --session.

    Args:
        vm: Id or name of the VM.
        command: Path of a program to run instead of the login shell.
        session: Id of a session, whose terminal is taken up again.
        fork: VM is a source, such as ubuntu: fork it for this shell, and delete the fork at its end.
        where: Where VMs are.
    """
    async with connected(where) as client, chosen_vm(client, vm, fork=fork) as machine:
        if session is not None or fork:
            return max(await _opened(machine, command, session, keeps=not fork), statuses.DONE)
        # Not the terminal's own, which would end with the terminal.
        made = (await machine.create_session(env={"TERM": _TERM})).session_id
        status = statuses.FAILED
        try:
            status = await _opened(machine, command, made, keeps=True)
        finally:
            if status != _LEFT:
                await clean_up(remove_session(machine, made))
    return max(status, statuses.DONE)


async def _opened(vm: AsyncVM, command: str | None, session: str | None, *, keeps: bool) -> int:
    """Open the terminal until its end, or until the person leaves it. Returns its exit status, or `_LEFT`."""
    columns, lines = _size()
    async with vm.terminal(command, cols=columns, rows=lines, session_id=session) as terminal:
        if not await _attached(terminal):
            # Servers that do not tell the exit code end the terminal in order all the same.
            return await terminal.wait() or statuses.DONE
        if keeps:
            complain(f"left; --session {terminal.session_id} takes it up again")
        return _LEFT


async def _attached(terminal: AsyncTerminal) -> bool:
    """Connect this terminal with one in a VM. Returns whether the person has left it before its end."""
    loop = asyncio.get_running_loop()
    window = _Window(terminal)
    with contextlib.suppress(NotImplementedError, AttributeError):
        loop.add_signal_handler(signal.SIGWINCH, window.changed.set)
    with _raw():
        showing = asyncio.ensure_future(_show(terminal, window))
        typing = asyncio.ensure_future(_type(terminal, window))
        resizing = asyncio.ensure_future(window.follow())
        try:
            await asyncio.wait({showing, typing}, return_when=asyncio.FIRST_COMPLETED)
            if typing.done() and not showing.done() and not typing.result():
                await asyncio.wait({showing})  # the input has ended, and the shell goes on to its own end
            if showing.done():
                showing.result()
                return False
            return True
        finally:
            for task in (showing, typing, resizing):
                await end(task)
            with contextlib.suppress(NotImplementedError, AttributeError):
                loop.remove_signal_handler(signal.SIGWINCH)


async def _show(terminal: AsyncTerminal, window: _Window) -> None:
    async for piece in terminal:
        if not isinstance(piece, bytes):
            window.redraw()
        await in_thread(output.write_bytes, sys.stdout, piece if isinstance(piece, bytes) else _CLEARED)


async def _type(terminal: AsyncTerminal, window: _Window) -> bool:
    """Send what is typed. Returns whether the person wants to leave."""
    keys = Keys()
    leaves = sys.stdin.isatty()
    async with aclosing(standard_input.pieces()) as pieces:
        async for piece in pieces:
            sent, left = keys.take(piece) if leaves else (piece, False)
            try:
                if sent:
                    await window.fit()  # what was typed after a change of size arrives after it
                    await terminal.write(sent)
            except TerminalClosedError:  # its end comes by the output
                return False
            if left:
                return True
    with contextlib.suppress(TerminalClosedError):
        await terminal.write(_END_OF_INPUT)
    return False


class Keys:
    """What is typed, and the sequence that leaves: ``~.`` at the start of a line."""

    def __init__(self) -> None:
        self._at_start = True
        self._held = False

    def take(self, piece: bytes) -> tuple[bytes, bool]:
        """Return what to send, and whether to leave."""
        sent = bytearray()
        for number in piece:
            key = bytes([number])
            if self._held:
                self._held = False
                if key == b".":
                    return bytes(sent), True
                if key != _ESCAPE:
                    sent += _ESCAPE
            elif self._at_start and key == _ESCAPE:
                self._held = True
                self._at_start = False
                continue
            sent += key
            self._at_start = key in _LINE_ENDS
        return bytes(sent), False


class _Window:
    """The size of this terminal, which the one in the VM follows."""

    def __init__(self, terminal: AsyncTerminal) -> None:
        self._terminal = terminal
        self._anew = False
        self.changed = asyncio.Event()

    def redraw(self) -> None:
        """Have everything drawn again: a server replays recent output only, and a line may have been drawn before it.

        Programs draw everything when the size changes. The same size would not be a change.
        """
        self._anew = True
        self.changed.set()

    async def follow(self) -> None:
        """Keep to the size, until the terminal ends."""
        with contextlib.suppress(TerminalClosedError):
            while True:
                await self.changed.wait()
                self.changed.clear()
                anew, self._anew = self._anew, False
                if anew:
                    columns, lines = _size()
                    await self._terminal.resize(columns, lines - 1 or 2)
                await self.fit()

    async def fit(self) -> None:
        """Give the terminal the size of this one, unless it has it."""
        columns, lines = _size()
        if (columns, lines) != (self._terminal.cols, self._terminal.rows):
            await self._terminal.resize(columns, lines)


def _size() -> tuple[int, int]:
    """Return the columns and lines of this terminal."""
    try:
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        columns = lines = 0
    # One that was made by a program, or leads to a console, may not have been told its size: it says 0.
    usual = shutil.get_terminal_size()
    columns, lines = columns or usual.columns or 80, lines or usual.lines or 24  # before Python 3.11 that may be 0, too
    return min(max(columns, 1), 1000), min(max(lines, 1), 1000)


@contextmanager
def _raw() -> Generator[None, None, None]:
    """Let this terminal pass on every key as it is, for the length of the block."""
    if not sys.stdin.isatty():
        yield
        return
    # Not every system has them, and without a terminal they are not needed.
    import termios
    import tty

    before: list[Any] = termios.tcgetattr(0)
    try:
        tty.setraw(0, termios.TCSADRAIN)  # what is typed ahead is kept
        yield
    finally:
        with contextlib.suppress(termios.error):  # it has ended, and needs nothing any more
            termios.tcsetattr(0, termios.TCSADRAIN, before)


__all__ = ["Keys", "shell"]
