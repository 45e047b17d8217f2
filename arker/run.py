"""`AsyncRun`: a handle on a run in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import arker
from arker import models
from arker._basics.guidance import instead
from arker._basics.pickling import refuse_to_be_pickled
from arker._basics.shown import shown
from arker._basics.typing import Self
from arker._files.sources import check_typed
from arker._protocol.calls import runs as run_calls
from arker._protocol.identifiers import new_idempotency_key
from arker._runs import cancelling
from arker._runs import follower as followers
from arker._runs.output import OutputChunk, OutputLine, RunLines, RunOutput
from arker._runs.poll import Planner, has_ended
from arker._tasks import clock
from arker._transport.attempts import deadline_scope
from arker.errors import ConfigurationError, ConflictError, NotFoundError, RunNotFinishedError, VMGoneError
from arker.errors.api import is_surely_gone
from arker.models import CompletedRunResult, RunRequest, RunSummary
from arker.models import _checks as check_values


class AsyncRun:
    """A run in the background: wait for it, read its output as it comes, cancel it.

    The handle has no connection. Its attributes are the run's fields at the last read:

        run = await vm.start("make")
        async for line in run.lines():
            print(line.stream, line.text)
        print(run.state, run.exit_code)

    The run does not depend on the handle: it continues when the handle is dropped. `AsyncVM.attach_run` returns a new
    handle by the run's id, also in another program.
    """

    __reduce__ = refuse_to_be_pickled
    if not TYPE_CHECKING:
        __getattr__ = instead

    def __init__(self, follower: followers.RunFollower, *, began: float | None = None) -> None:
        """Initialize the handle. Use `AsyncVM.start`, `AsyncSession.start` or `AsyncVM.attach_run` to get one."""
        self._follower = follower
        self._began = began
        self._has_input = follower.stdin is not None

    def __repr__(self) -> str:
        state = f" {self.state}" if self.state is not None else ""
        return shown(self._follower.place.redact(f"<AsyncRun {self.run_id}{state} in VM {self.vm_id}>"))

    # --- fields ---------------------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._follower.run_id

    @property
    def vm_id(self) -> str:
        """The id of the run's VM, or the name that the VM's handle was created with."""
        return self._follower.place.vm_id

    @property
    def data(self) -> RunSummary | None:
        """The run at the last read, without its output; None before the first read."""
        return self._follower.data

    @property
    def state(self) -> models.RunState | str | None:
        """The run's state at the last read; None before the first read.

        It is ``running``, ``completed``, ``failed`` or ``cancelled`` (see `RunSummary`).
        """
        return self._follower.state

    @property
    def ended(self) -> bool:
        """Whether the run had ended at the last read."""
        return self._follower.ended

    @property
    def exit_code(self) -> int | None:
        """The command's exit code; None before it is known and if there is none."""
        return None if self._follower.data is None else self._follower.data.exit_code

    @property
    def fail_reason(self) -> str | None:
        """Why the run failed; for a completed run, which part of its output is missing.

        If the server gives no reason, and its times show that the ``timeout`` given to `AsyncVM.start` has passed, the
        handle that this returned says so.
        """
        return None if self._follower.data is None else self._follower.data.fail_reason

    @property
    def session_id(self) -> str | None:
        """The id of the run's session."""
        return None if self._follower.data is None else self._follower.data.session_id

    @property
    def command(self) -> str | None:
        """The command, as a line for the shell."""
        return None if self._follower.data is None else self._follower.data.command

    @property
    def tunnels(self) -> tuple[models.Tunnel, ...]:
        """The tunnels that the run opened; only the handle returned by `AsyncVM.start` has their tokens."""
        return self._follower.tunnels

    # --- reading --------------------------------------------------------------------------------------------------

    async def refresh(self, *, deadline: float | None = None) -> Self:
        """Read the run's fields again. Returns this handle. If the run has ended, its output is read, too.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such run in this VM.
            VMGoneError: The VM no longer exists.
        """
        with deadline_scope(deadline, self._follower.progress("run.refresh")):
            known = self._follower.data is not None and has_ended(self._follower.data)
            if not known and await self._follower.ask_whether_ended():
                await self._follower.read()
        return self

    async def wait(self, *, check: bool = False, deadline: float | None = None) -> CompletedRunResult:
        """Wait until the run has ended and return its result, as `AsyncVM.run` does.

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
        with deadline_scope(deadline, self._follower.progress("run.wait")):
            run = await self._follower.wait()
            await self._end_input()
        return self._follower.result_of(run, "run.wait", check=check)

    async def result(self, *, check: bool = False, deadline: float | None = None) -> CompletedRunResult:
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
        with deadline_scope(deadline, self._follower.progress("run.result")):
            ended = self.ended or await self._follower.ask_whether_ended()
            run = await self._follower.read() if ended else None
            await self._end_input()
        if run is None or not has_ended(run):
            raise RunNotFinishedError(
                f"the run {self._follower.place.redact(self.run_id)} has not ended yet",
                operation="run.result",
                vm_id=self.vm_id,
                run_id=self.run_id,
            )
        return self._follower.result_of(run, "run.result", check=check)

    def output(self, *, max_delay: float | None = None, deadline: float | None = None) -> arker.AsyncItems[OutputChunk]:
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
        delay = None if max_delay is None else check_values.check_seconds("max_delay", max_delay)
        bound = None if deadline is None else check_values.check_seconds("deadline", deadline)
        now = clock.now()
        planner = Planner(now if self._began is None else self._began, self._began is not None, delay)
        return RunOutput(
            self._follower.ask_whether_ended,
            self._follower.read_for_output,
            planner,
            self._follower.progress("run.output"),
            bound,
        )

    def lines(self, *, max_delay: float | None = None, deadline: float | None = None) -> arker.AsyncItems[OutputLine]:
        r"""Iterate over the run's output by lines until it has ended. A last line without ``\n`` comes at the end.

        Args:
            max_delay: As for `output`.
            deadline: As for `output`.

        Raises:
            OutputChangedError: As for `output`, as are all other errors.
        """
        return RunLines(self.output(max_delay=max_delay, deadline=deadline))

    # --- control --------------------------------------------------------------------------------------------------

    async def cancel(self, *, deadline: float | None = None) -> models.CancelRunResponse:
        """Cancel the run: kill its command and all its processes.

        A run that has already ended does not become cancelled. A server that does not know a run yet, right after it
        has accepted it, is asked again for two seconds.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such run in this VM.
        """
        answer = await cancelling.cancel(self._follower.place, self.run_id, deadline=deadline)
        if answer.cancelled:
            self._follower.state = "cancelled"
            await self._end_input()
        return answer

    async def _end_input(self) -> None:
        """Remove what is left of the input once the run has ended."""
        stdin, state = self._follower.stdin, self.state
        if stdin is not None and self._follower.ended:
            self._follower.stdin = None
            await stdin.end(removed=state == "completed")

    async def write(self, data: str | bytes | bytearray | memoryview, *, deadline: float | None = None) -> None:
        """Send input to the command, which was started with ``stdin=True``. It may have any size.

        When this returns, the command is certain to get it, after what was sent before, once it reads.

        Args:
            data: Bytes, or text, which is sent as UTF-8.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            ConflictError: The run has ended, or its input was closed.
            ConfigurationError: The run was not started with ``stdin=True``, or not by this handle.
        """
        content = check_typed(data)
        with deadline_scope(deadline, self._follower.progress("run.write")):
            await self._input().write(content)

    async def close_stdin(self, *, deadline: float | None = None) -> None:
        """Close the command's input: the command reads its end after all that was sent. A closed one stays closed.

        Nothing is left to close once the run has ended, or has gone with its VM.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            ConfigurationError: The run was not started with ``stdin=True``, or not by this handle.
        """
        with deadline_scope(deadline, self._follower.progress("run.close_stdin")):
            if self._follower.stdin is not None or not self._has_input:
                try:
                    await self._input().close()
                except NotFoundError as error:
                    if not is_surely_gone(error) or not await self._is_over():
                        raise

    async def _is_over(self) -> bool:
        """Return whether the run has ended, or has gone with its VM."""
        try:
            return await self._follower.ask_whether_ended()
        except NotFoundError as error:
            return isinstance(error, VMGoneError) or is_surely_gone(error)

    def _input(self) -> followers.Feed:
        stdin = self._follower.stdin
        if stdin is not None:
            return stdin
        if self._has_input:
            raise self._conflict("has ended", "nothing was written")
        raise ConfigurationError(
            "the run takes no input from this handle: only one that start(stdin=True) has returned"
        )

    async def signal(self, signal: str, *, deadline: float | None = None) -> None:
        """Send a signal to the run.

        The signal goes to the session's current command, so it is sent only while that belongs to this run.

        Args:
            signal: The signal's name: ``INT``, ``SIGTERM``…
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            ConflictError: The run has ended, or is still waiting for other runs of its session.
            BadRequestError: There is no such signal.
        """
        name = check_values.check_text("signal", signal, what="the name of a signal, such as INT")
        with deadline_scope(deadline, self._follower.progress("run.signal")):
            if await self._follower.ask_whether_ended() or self._follower.data is None:
                raise self._conflict("has ended")
            if self._follower.first_of_session != self.run_id:
                raise self._conflict("waits for another run of its session")
            request = RunRequest(command="", signal=name, session_id=self._follower.data.session_id)
            call = run_calls.run(self._follower.place, request, new_idempotency_key())
            try:
                await self._follower.place.send(call)
            except (ConflictError, NotFoundError):
                # The session runs nothing: the run may have ended since it was asked for.
                if await self._follower.ask_whether_ended():
                    raise self._conflict("has ended") from None
                raise

    def _conflict(self, why: str, effect: str = "no signal was sent") -> ConflictError:
        run_id = self._follower.place.redact(self.run_id)
        operation = "run.signal" if "signal" in effect else "run.write"
        return ConflictError(f"the run {run_id} {why}: {effect}", operation=operation, vm_id=self.vm_id, run_id=run_id)


__all__ = ["AsyncRun", "OutputChunk", "OutputLine"]
