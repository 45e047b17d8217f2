# Generated from arker/run.py by "nox -s facade": change that file, not this one.
"""`RunHandle`: a run that goes on by itself, held by its id."""

from __future__ import annotations

from collections.abc import Iterator

import arker
from arker import models
from arker._basics.typing import Self
from arker._runs.output import OutputChunk, OutputLine
from arker.models import CompletedRunResult, RunSummary
from arker_sync._bridge.facade import Facade
from arker_sync._bridge.outcomes import same


class RunHandle(Facade):
    """A run in the background: wait for it, read its output as it comes, cancel it.

    It holds no connection, and what it shows of the run is as it was last read:

        run = vm.start("make")
        for line in run.lines():
            print(line.stream, line.text)
        print(run.state, run.exit_code)

    The run does not depend on it: it goes on when this object is dropped, and `VM.attach_run` takes it up again by
    its id, in another program as well.
    """

    _async: arker.AsyncRun

    # --- what is known of it --------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._async.run_id

    @property
    def vm_id(self) -> str:
        """The id of its VM, or the name that the VM's handle was made from."""
        return self._async.vm_id

    @property
    def data(self) -> RunSummary | None:
        """What was last read of it, without its output; None before it was read at all."""
        return self._async.data

    @property
    def state(self) -> models.RunState | str | None:
        """``running``, ``completed``, ``failed`` or ``cancelled`` (`RunSummary`); None before it was read at all."""
        return self._async.state

    @property
    def ended(self) -> bool:
        """Whether it is known to have ended."""
        return self._async.ended

    @property
    def exit_code(self) -> int | None:
        """The command's exit code, once it is known that the run has ended with one."""
        return self._async.exit_code

    @property
    def fail_reason(self) -> str | None:
        """Why it failed; of a completed run, what is missing of its output."""
        return self._async.fail_reason

    @property
    def session_id(self) -> str | None:
        """The session that it runs in."""
        return self._async.session_id

    @property
    def command(self) -> str | None:
        """The command, as a line for the shell."""
        return self._async.command

    @property
    def tunnels(self) -> tuple[models.Tunnel, ...]:
        """The tunnels that it opened; with their tokens only on the handle that `VM.start` gave."""
        return self._async.tunnels

    # --- asking ---------------------------------------------------------------------------------------------------

    def refresh(self, *, deadline: float | None = None) -> Self:
        """This handle, with its fields read anew. The output of a run that has ended is read with it.

        Args:
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such run in this VM.
            VMGoneError: The VM has gone.
        """
        work = self._async.refresh(deadline=deadline)
        self._lease.call(work)
        return self

    def wait(self, *, check: bool = False, deadline: float | None = None) -> CompletedRunResult:
        """The result, once the run has ended; the same as `VM.run` gives.

        Meanwhile only small questions are asked; its output is read once, at the end.

        Args:
            check: Raise unless the command completed with exit code 0.
            deadline: Seconds for the whole call; None for no bound. The run itself goes on.

        Raises:
            RunFailedError: With ``check=True``: a non-zero exit code, or a state other than ``completed``.
            DeadlineExceededError: The run goes on, and can be waited for again.
            NotFoundError: There is no such run in this VM.
            VMGoneError: The VM has gone.
        """
        work = self._async.wait(check=check, deadline=deadline)
        return self._lease.call(work)

    def result(self, *, check: bool = False, deadline: float | None = None) -> CompletedRunResult:
        """The result of a run that has ended, without waiting for it.

        Args:
            check: Raise unless the command completed with exit code 0.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            RunNotFinishedError: It goes on.
            RunFailedError: With ``check=True``: a non-zero exit code, or a state other than ``completed``.
            NotFoundError: There is no such run in this VM.
            VMGoneError: The VM has gone.
        """
        work = self._async.result(check=check, deadline=deadline)
        return self._lease.call(work)

    def output(self, *, max_delay: float | None = None, deadline: float | None = None) -> Iterator[OutputChunk]:
        """What the run writes, as it comes, until it has ended: from its beginning, each byte once and in order.

        A run can only be read whole, so what is new is asked for the more rarely the more there is: all readings
        together come to three times the output at most if it goes on as it came, and to four and a half times whatever
        it does, and 256 KiB, and 16 KiB for each second. A lost connection leaves no gap, and after an exception the
        same iterator can be gone on with.

        Args:
            max_delay: Seconds after which what is new is read at the latest, however much is read for it.
            deadline: Seconds for all of it, from the first chunk that is asked for; None for no bound.

        Raises:
            OutputChangedError: The run, read again, does not begin with what was handed out.
            DeadlineExceededError: The run goes on.
            NotFoundError: There is no such run in this VM.
            VMGoneError: The VM has gone.
        """
        iterator = self._async.output(max_delay=max_delay, deadline=deadline)
        return self._lease.iterate(iterator, same)

    def lines(self, *, max_delay: float | None = None, deadline: float | None = None) -> Iterator[OutputLine]:
        r"""What the run writes, line by line, until it has ended; a last line without its ``\n`` comes at the end.

        Args:
            max_delay: As for `output`.
            deadline: As for `output`.

        Raises:
            OutputChangedError: As for `output`, like all other errors.
        """
        iterator = self._async.lines(max_delay=max_delay, deadline=deadline)
        return self._lease.iterate(iterator, same)

    # --- acting ---------------------------------------------------------------------------------------------------

    def cancel(self, *, deadline: float | None = None) -> models.CancelRunResponse:
        """Stop it: everything that it started is killed. A run that has ended already is none that was cancelled.

        Args:
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such run in this VM.
        """
        work = self._async.cancel(deadline=deadline)
        return self._lease.call(work)

    def signal(self, signal: str, *, deadline: float | None = None) -> None:
        """Send it a signal. It goes to what its session is running, so it is sent only while that is this run.

        Args:
            signal: The signal's name: ``INT``, ``SIGTERM``…
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            ConflictError: The run has ended, or still waits for others of its session.
            BadRequestError: There is no such signal.
        """
        work = self._async.signal(signal, deadline=deadline)
        self._lease.call(work)


__all__ = ["RunHandle"]
