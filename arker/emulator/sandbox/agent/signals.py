"""Signals for a command, held back until its shell has started it.

A shell that is about to start a program may lose a signal: the child has the shell's own handlers until it executes the
program, and the shell takes a child that survives for one that has dealt with the signal itself.
"""

from __future__ import annotations

import time

from arker.emulator.sandbox.agent.processes import PROC, processes, read_proc, send_signal
from arker.emulator.sandbox.agent.system import fsencode

TYPE_CHECKING = False  # typing is not imported in the VM: see the package
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

LONGEST = 3.0
"""Seconds after the shell's start that a signal is held back for at most: what a command does may need no program."""
BUSY_TICKS = 10
"""Hundredths of a second of a processor after which a shell is past its start, however slow the machine is."""
STEP_MS = 5
AT_ONCE = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT)
"""Signals that a shell cannot lose."""


def program_of(pid: int) -> bytes:
    """Return the arguments of a process; nothing when it has ended."""
    try:
        return read_proc(f"{pid}/cmdline")
    except OSError:
        return b""


def ticks_of(pid: int) -> int:
    """Return the time that a process has had of a processor, in hundredths of a second."""
    try:
        fields = read_proc(f"{pid}/stat").rpartition(b")")[2].split()
        return int(fields[11]) + int(fields[12])
    except (OSError, IndexError):
        return 0


class Signals:
    """The signals for the process group of one shell, which was started just now."""

    def __init__(self, shell: int, argv: list[str]) -> None:
        self.shell = shell
        self.program = b"" if PROC is None else b"".join(fsencode(argument) + b"\0" for argument in argv)
        self.end = time.monotonic() + LONGEST
        self.held: list[int] = []

    def send(self, number: int) -> None:
        """Send a signal now, or by `proceed`."""
        if number in AT_ONCE:
            send_signal(number, -self.shell)
        else:
            self.held.append(number)
            self.proceed()

    def proceed(self) -> int | None:
        """Send what is held back, if it is time. Returns after how many milliseconds to call again, if at all."""
        if not self.held:
            return None
        if not self.started():
            return STEP_MS
        self.end = 0.0
        for number in self.held:
            send_signal(number, -self.shell)
        self.held.clear()
        return None

    def started(self) -> bool:
        """Return whether the shell has started a program, or has had the time to."""
        if not self.program or time.monotonic() >= self.end or ticks_of(self.shell) >= BUSY_TICKS:
            return True
        group = [pid for pid, (_, group, state) in processes().items() if group == self.shell and state not in "ZX"]
        return not group or any(program_of(pid) not in (self.program, b"") for pid in group)
