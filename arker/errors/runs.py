"""Errors of runs, tunnels and fleets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import arker
from arker._basics.guidance import instead
from arker.errors.base import (
    ArkerError,
)

_ENDED: Final = {"failed": "failed", "cancelled": "was cancelled"}


class RunFailedError(ArkerError):
    """A command run with ``check=True`` did not succeed: a non-zero exit code, or a state other than ``completed``.

    Attributes:
        result: The whole result of the run.
        stdout: The command's standard output, as bytes.
        stderr: The command's standard error, as bytes.
        exit_code: The command's exit code; None or -1 if there was none.
    """

    default_code = "run_failed"

    def __init__(self, result: arker.CompletedRunResult) -> None:
        if result.exit_code is None and result.state == "completed":
            what = "the command has no exit code"
        elif result.state == "completed":
            what = f"the command exited with {result.exit_code}"
        else:
            what = (
                f"the run {_ENDED.get(result.state, f'is {result.state}')}: {result.fail_reason or 'no reason given'}"
            )
        tail = result.stderr_text.strip()[-500:]
        super().__init__(
            f"{what}; stderr ends with {tail!r}" if tail else what, outcome="applied", run_id=result.run_id
        )
        self.args = (result,)
        self.result = result
        self.stdout = result.stdout
        self.stderr = result.stderr
        self.exit_code = result.exit_code

    if not TYPE_CHECKING:
        __getattr__ = instead

    @property
    def stdout_text(self) -> str:
        """The command's standard output as text; see `CompletedRunResult.stdout_text`."""
        return self.result.stdout_text

    @property
    def stderr_text(self) -> str:
        """The command's standard error as text; see `CompletedRunResult.stderr_text`."""
        return self.result.stderr_text


class CommandNotRunError(ArkerError):
    """A command was not run, because what it needs could not be given to it in the VM."""

    default_code = "command_not_run"


class WorkingDirectoryError(CommandNotRunError, FileNotFoundError):
    """A command was not run, because its ``cwd`` is no directory of the VM that its user may enter.

    Attributes:
        errno: `errno.ENOENT`, `errno.ENOTDIR` or `errno.EACCES`.
        filename: The directory.
    """

    default_code = "working_directory"

    def __init__(self, message: str, *, number: int = 0, filename: str | None = None, **context: Any) -> None:
        super().__init__(message, **context)
        self.errno = number
        self.strerror = message
        self.filename = filename

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError's own method would pass only its own arguments.
        return type(self), self.args, self.__dict__


class RunNotFinishedError(ArkerError):
    """The result of a run was requested before the run has ended."""

    default_code = "run_not_finished"


class OutputChangedError(ArkerError):
    """A run's output no longer begins with what was returned before.

    This happens after the platform has resumed the run (durable VMs), or if the output of a failed run is lost.

    Attributes:
        stream: ``stdout`` or ``stderr``.
        handed_out: Number of bytes of the stream that had been returned.
    """

    default_code = "output_changed"

    def __init__(self, message: str, *, stream: str = "", handed_out: int = 0, **context: Any) -> None:
        super().__init__(message, **context)
        self.stream = stream
        self.handed_out = handed_out


class TunnelClosedError(ArkerError):
    """A tunnel is closed or was never opened. The message has the reason, if the server sent one.

    Attributes:
        port: The port of the VM.
    """

    default_code = "tunnel_closed"

    def __init__(self, message: str, *, port: int = 0, **context: Any) -> None:
        super().__init__(message, **context)
        self.port = port


class TerminalClosedError(ArkerError):
    """A terminal has ended or was closed, or the server ended the connection to it.

    Attributes:
        close_code: The code with which the server closed the connection; None if it did not.
    """

    default_code = "terminal_closed"

    def __init__(self, message: str, *, close_code: int | None = None, **context: Any) -> None:
        super().__init__(message, **context)
        self.close_code = close_code


class FleetError(ArkerError):
    """Too few VMs of a fleet could be forked, none is left, or some could not be deleted.

    Attributes:
        errors: The error of each failed VM.
        vm_ids: VMs that could not be deleted and may still exist.
    """

    default_code = "fleet_failed"

    def __init__(
        self, message: str, *, errors: Sequence[ArkerError] = (), vm_ids: Sequence[str] = (), **context: Any
    ) -> None:
        super().__init__(message, **context)
        self.errors = tuple(errors)
        self.vm_ids = tuple(vm_ids)


__all__ = [
    "CommandNotRunError",
    "FleetError",
    "OutputChangedError",
    "RunFailedError",
    "RunNotFinishedError",
    "TerminalClosedError",
    "TunnelClosedError",
    "WorkingDirectoryError",
]
