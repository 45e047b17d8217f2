# Generated from arker/run.py by "nox -s facade": change that file, not this one.
"""`RunHandle`: a handle on a run in the background."""

from __future__ import annotations

import arker
import arker_sync
from arker import models
from arker._basics.typing import Self
from arker._runs.output import OutputChunk, OutputLine
from arker.models import CompletedRunResult, RunSummary
from arker_sync._bridge.facade import Facade


class RunHandle(Facade):
    """A run in the background: wait for it, read its output as it comes, cancel it.

    The handle has no connection. Its attributes are the run's fields at the last read:

        run = vm.start("make")
        for line in run.lines():
            print(line.stream, line.text)
        print(run.state, run.exit_code)

    The run does not depend on the handle: it continues when the handle is dropped. `VM.attach_run` returns a new
    handle by the run's id, also in another program.
    """

    _async: arker.AsyncRun

    # --- fields ---------------------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._async.run_id

    @property
    def vm_id(self) -> str:
        """The id of the run's VM, or the name that the VM's handle was created with."""
        return self._async.vm_id

    @property
    def data(self) -> RunSummary | None:
        """The run at the last read, without its output; None before the first read."""
        return self._async.data

    @property
    def state(self) -> models.RunState | str | None:
        """The run's state at the last read; None before the first read.

        It is ``running``, ``completed``, ``failed`` or ``cancelled`` (see `RunSummary`).
        """
        return self._async.state

    @property
    def ended(self) -> bool:
        """Whether the run had ended at the last read."""
        return self._async.ended

    @property
    def exit_code(self) -> int | None:
        """The command's exit code; None before it is known and if there is none."""
        return self._async.exit_code

    @property
    def fail_reason(self) -> str | None:
        """Why the run failed; for a completed run, which part of its output is missing.

        If the server gives no reason, and its times show that the ``timeout`` given to `VM.start` has passed, the
        handle that this returned says so.
        """
        return self._async.fail_reason

    @property
    def session_id(self) -> str | None:
        """The id of the run's session."""
        return self._async.session_id

    @property
    def command(self) -> str | None:
        """The command, as a line for the shell."""
        return self._async.command

    @property
    def tunnels(self) -> tuple[models.Tunnel, ...]:
        """The tunnels that the run opened; only the handle returned by `VM.start` has their tokens."""
        return self._async.tunnels

    # --- reading --------------------------------------------------------------------------------------------------

    def refresh(self, *, deadline: float | None = None) -> Self:
        """Read the run's fields again. Returns this handle. If the run has ended, its output is read, too.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such run in this VM.
            VMGoneError: The VM no longer exists.
        """
        work = self._async.refresh(deadline=deadline)
        self._lease.call(work)
        return self

    def wait(self, *, check: bool = False, deadline: float | None = None) -> CompletedRunResult:
        """Wait until the run has ended and return its result, as `VM.run` does.

        While it waits, the client sends only small requests; it reads the output once, at the end.

        Args:
            check: Raise unless the command completed with exit code 0.
            deadline: Seconds for the whole call; None for no limit. The run itself continues.

        Raises:
            RunFailedError: With ``check=True``: a non-zero exit code, or a state other than ``completed``.
            WorkingDirectoryError: The command was not run, since its ``cwd`` cannot be entered.
            CommandNotRunError: The command was not run for another reason.
            DeadlineExceededError: The run continues, and `wait` can be called again.
            NotFoundError: There is no such run in this VM.
            VMGoneError: The VM no longer exists.
        """
        work = self._async.wait(check=check, deadline=deadline)
        return self._lease.call(work)

    def result(self, *, check: bool = False, deadline: float | None = None) -> CompletedRunResult:
        """Return the result of a run that has ended, without waiting.

        Args:
            check: Raise unless the command completed with exit code 0.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RunNotFinishedError: The run has not ended.
            RunFailedError: With ``check=True``: a non-zero exit code, or a state other than ``completed``.
            NotFoundError: There is no such run in this VM.
            VMGoneError: The VM no longer exists.
        """
        work = self._async.result(check=check, deadline=deadline)
        return self._lease.call(work)

    def output(self, *, max_delay: float | None = None, deadline: float | None = None) -> arker_sync.Items[OutputChunk]:
        """Iterate over the run's output as it arrives, until the run has ended.

        The iteration starts at the beginning of the output. Each byte comes once and in order.

        The server only returns a run's whole output, so the client polls less often as the output grows. The total
        amount read is at most three times the output if it arrives at a steady rate, and at most four and a half times
        in any case, plus 256 KiB, plus 16 KiB for each second. A lost connection leaves no gap, and after an exception
        the same iterator can be continued.

        Args:
            max_delay: Maximum number of seconds until new output is read, however much has to be read for it.
            deadline: Seconds for the whole iteration, from the request for the first chunk; None for no limit.

        Raises:
            WorkingDirectoryError: The command was not run, since its ``cwd`` cannot be entered.
            CommandNotRunError: The command was not run for another reason.
            OutputChangedError: The output no longer begins with what was returned before.
            DeadlineExceededError: The run continues.
            NotFoundError: There is no such run in this VM.
            VMGoneError: The VM no longer exists.
        """
        iterator = self._async.output(max_delay=max_delay, deadline=deadline)
        return arker_sync.Items(iterator, self._lease)

    def lines(self, *, max_delay: float | None = None, deadline: float | None = None) -> arker_sync.Items[OutputLine]:
        r"""Iterate over the run's output by lines until it has ended. A last line without ``\n`` comes at the end.

        Args:
            max_delay: As for `output`.
            deadline: As for `output`.

        Raises:
            OutputChangedError: As for `output`, as are all other errors.
        """
        iterator = self._async.lines(max_delay=max_delay, deadline=deadline)
        return arker_sync.Items(iterator, self._lease)

    # --- control --------------------------------------------------------------------------------------------------

    def cancel(self, *, deadline: float | None = None) -> models.CancelRunResponse:
        """Cancel the run: kill its command and all its processes.

        A run that has already ended does not become cancelled. A server that does not know a run yet, right after it
        has accepted it, is asked again for two seconds.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such run in this VM.
        """
        work = self._async.cancel(deadline=deadline)
        return self._lease.call(work)

    def write(self, data: str | bytes | bytearray | memoryview, *, deadline: float | None = None) -> None:
        """Send input to the command, which was started with ``stdin=True``. It may have any size.

        When this returns, the command is certain to get it, after what was sent before, once it reads.

        Args:
            data: Bytes, or text, which is sent as UTF-8.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            ConflictError: The run has ended, or its input was closed.
            ConfigurationError: The run was not started with ``stdin=True``, or not by this handle.
        """
        work = self._async.write(data, deadline=deadline)
        self._lease.call(work)

    def close_stdin(self, *, deadline: float | None = None) -> None:
        """Close the command's input: the command reads its end after all that was sent. A closed one stays closed.

        Nothing is left to close once the run has ended, or has gone with its VM.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            ConfigurationError: The run was not started with ``stdin=True``, or not by this handle.
        """
        work = self._async.close_stdin(deadline=deadline)
        self._lease.call(work)

    def signal(self, signal: str, *, deadline: float | None = None) -> None:
        """Send a signal to the run.

        The signal goes to the session's current command, so it is sent only while that belongs to this run.

        Args:
            signal: The signal's name: ``INT``, ``SIGTERM``…
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            ConflictError: The run has ended, or is still waiting for other runs of its session.
            BadRequestError: There is no such signal.
        """
        work = self._async.signal(signal, deadline=deadline)
        self._lease.call(work)


__all__ = ["RunHandle"]
