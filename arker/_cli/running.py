"""How a command runs: in an event loop of its own, and with an exit status and one line for each kind of failure."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from types import FrameType
from typing import Any

from arker._basics.shown import shown
from arker._cli import statuses
from arker._tasks.termination import EXIT_STATUS
from arker.errors import ArkerError, ConfigurationError, EmulatorError, InvalidArgumentError


class UsageError(Exception):
    """The command line is wrong; the message says what would be right."""


class FailedError(Exception):
    """The command could not be done; the message says why.

    Attributes:
        status: The exit status.
    """

    def __init__(self, message: str, status: int = statuses.FAILED) -> None:
        super().__init__(message)
        self.status = status


def run(work: Coroutine[Any, Any, int], *, failed: int = statuses.FAILED, usage: int = statuses.USAGE) -> int:
    """Run a command. Returns its exit status; what is wrong is told in a line on standard error.

    Args:
        work: The command.
        failed: The status if the server has refused, or was not reached.
        usage: The status if the command line or the configuration is wrong.
    """
    hang_up = _HangUp()
    try:
        try:
            status = asyncio.run(work)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return statuses.INTERRUPTED
    except BrokenPipeError as error:
        return failed_output(error)
    except SystemExit as end:  # SIGTERM, see `arker._tasks.termination`
        if hang_up.came:
            return statuses.HUNG_UP
        return end.code if isinstance(end.code, int) else EXIT_STATUS
    except UsageError as error:
        complain(str(error))
        return usage
    except FailedError as error:
        complain(str(error))
        return failed if error.status == statuses.FAILED else error.status
    except (ConfigurationError, InvalidArgumentError) as error:
        complain(words(error))
        return usage if error.outcome == "not_started" else failed
    except ArkerError as error:
        complain(words(error), lines=isinstance(error, EmulatorError))
        return failed
    except OSError as error:
        return failed_output(error, failed)
    return status


class _HangUp:
    """SIGHUP handled like SIGTERM: the end of a terminal leaves no VM and no command behind.

    Attributes:
        came: Whether the signal has come.
    """

    def __init__(self) -> None:
        self.came = False
        # Windows has no such signal; nohup, and a shell's jobs that are to go on, have it ignored.
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            signal.signal(signal.SIGHUP, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            return  # the system sends it, and the shell too, which is no sign of haste
        self.came = True
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # there is nothing to clean up
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        else:
            signal.raise_signal(signal.SIGTERM)


def failed_output(error: OSError, failed: int = statuses.FAILED) -> int:
    """Return the exit status after an error of the system, such as an output that has no reader."""
    _close_output()
    if isinstance(error, BrokenPipeError):
        return statuses.BROKEN_PIPE
    complain(str(error))
    return failed


def complain(message: str, *, lines: bool = False) -> None:
    """Write a line to standard error."""
    try:
        sys.stderr.write(f"arker: {shown(message, lines=lines)}\n")
    except (OSError, ValueError):  # it is closed
        pass


def words(error: ArkerError) -> str:
    """Return what an error says; without the context if that says nothing more."""
    if isinstance(error, InvalidArgumentError) or (isinstance(error, ConfigurationError) and not error.operation):
        return error.message
    return str(error)


def _close_output() -> None:
    """Keep the interpreter from flushing, at its end, an output that cannot be written."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
    except (OSError, ValueError):
        pass


__all__ = ["FailedError", "UsageError", "complain", "failed_output", "run", "words"]
