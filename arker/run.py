"""`AsyncRun`: a run that goes on by itself, held by its id."""

from __future__ import annotations

from collections.abc import AsyncIterator

from arker import models
from arker._basics import clock
from arker._basics.pickling import refuse_to_be_pickled
from arker._basics.shown import shown
from arker._basics.typing import Self
from arker._protocol.calls import runs as run_calls
from arker._protocol.identifiers import new_idempotency_key
from arker._runs import follower as followers
from arker._runs.output import OutputChunk, OutputLine, RunLines, RunOutput
from arker._runs.poll import Planner, has_ended
from arker._transport.attempts import deadline_scope
from arker.errors import (
    ConflictError,
    RunNotFinishedError,
)
from arker.models import CompletedRunResult, RunRequest, RunSummary
from arker.models import _checks as check_values


class AsyncRun:
    """A run in the background: wait for it, read its output as it comes, cancel it.

    It holds no connection, and what it shows of the run is as it was last read:

        run = await vm.start("make")
        async for line in run.lines():
            print(line.stream, line.text)
        print(run.state, run.exit_code)

    The run does not depend on it: it goes on when this object is dropped, and `AsyncVM.attach_run` takes it up again by
    its id, in another program as well.
    """

    __reduce__ = refuse_to_be_pickled

    def __init__(self, follower: followers.RunFollower, *, began: float | None = None) -> None:
        """Made by `AsyncVM.start`, `AsyncSession.start` and `AsyncVM.attach_run`."""
        self._follower = follower
        self._began = began

    def __repr__(self) -> str:
        state = f" {self.state}" if self.state is not None else ""
        return shown(self._follower.place.redact(f"<AsyncRun {self.run_id}{state} in VM {self.vm_id}>"))

    # --- what is known of it --------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._follower.run_id

    @property
    def vm_id(self) -> str:
        """The id of its VM, or the name that the VM's handle was made from."""
        return self._follower.place.vm_id

    @property
    def data(self) -> RunSummary | None:
        """What was last read of it, without its output; None before it was read at all."""
        return self._follower.data

    @property
    def state(self) -> models.RunState | str | None:
        """``running``, ``completed``, ``failed`` or ``cancelled`` (`RunSummary`); None before it was read at all."""
        return self._follower.state

    @property
    def ended(self) -> bool:
        """Whether it is known to have ended."""
        return self._follower.ended

    @property
    def exit_code(self) -> int | None:
        """The command's exit code, once it is known that the run has ended with one."""
        return None if self._follower.data is None else self._follower.data.exit_code

    @property
    def fail_reason(self) -> str | None:
        """Why it failed; of a completed run, what is missing of its output."""
        return None if self._follower.data is None else self._follower.data.fail_reason

    @property
    def session_id(self) -> str | None:
        """The session that it runs in."""
        return None if self._follower.data is None else self._follower.data.session_id

    @property
    def command(self) -> str | None:
        """The command, as a line for the shell."""
        return None if self._follower.data is None else self._follower.data.command

    @property
    def tunnels(self) -> tuple[models.Tunnel, ...]:
        """The tunnels that it opened; with their tokens only on the handle that `AsyncVM.start` gave."""
        return self._follower.tunnels

    # --- asking ---------------------------------------------------------------------------------------------------

    async def refresh(self, *, deadline: float | None = None) -> Self:
        """This handle, with its fields read anew. The output of a run that has ended is read with it.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such run in this VM.
            VMGoneError: The VM has gone.
        """
        with deadline_scope(deadline, self._follower.progress("run.refresh")):
            known = self._follower.data is not None and has_ended(self._follower.data)
            if not known and await self._follower.ask_whether_ended():
                await self._follower.read()
        return self

    async def wait(self, *, check: bool = False, deadline: float | None = None) -> CompletedRunResult:
        """The result, once the run has ended; the same as `AsyncVM.run` gives.

        Meanwhile only small questions are asked; its output is read once, at the end.

        Args:
            check: Raise unless the command completed with exit code 0.
            deadline: Seconds for the whole call; None for no limit. The run itself goes on.

        Raises:
            RunFailedError: With ``check=True``: a non-zero exit code, or a state other than ``completed``.
            DeadlineExceededError: The run goes on, and can be waited for again.
            NotFoundError: There is no such run in this VM.
            VMGoneError: The VM has gone.
        """
        with deadline_scope(deadline, self._follower.progress("run.wait")):
            run = await self._follower.wait()
        return self._follower.result_of(run, "run.wait", check=check)

    async def result(self, *, check: bool = False, deadline: float | None = None) -> CompletedRunResult:
        """The result of a run that has ended, without waiting for it.

        Args:
            check: Raise unless the command completed with exit code 0.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RunNotFinishedError: It goes on.
            RunFailedError: With ``check=True``: a non-zero exit code, or a state other than ``completed``.
            NotFoundError: There is no such run in this VM.
            VMGoneError: The VM has gone.
        """
        with deadline_scope(deadline, self._follower.progress("run.result")):
            ended = self.ended or await self._follower.ask_whether_ended()
            run = await self._follower.read() if ended else None
        if run is None or not has_ended(run):
            raise RunNotFinishedError(
                f"the run {self._follower.place.redact(self.run_id)} has not ended yet",
                operation="run.result",
                vm_id=self.vm_id,
                run_id=self.run_id,
            )
        return self._follower.result_of(run, "run.result", check=check)

    def output(self, *, max_delay: float | None = None, deadline: float | None = None) -> AsyncIterator[OutputChunk]:
        """What the run writes, as it comes, until it has ended: from its beginning, each byte once and in order.

        A run can only be read whole, so what is new is asked for the more rarely the more there is: all readings
        together come to three times the output at most if it goes on as it came, and to four and a half times whatever
        it does, and 256 KiB, and 16 KiB for each second. A lost connection leaves no gap, and after an exception the
        same iterator can be gone on with.

        Args:
            max_delay: Seconds after which what is new is read at the latest, however much is read for it.
            deadline: Seconds for all of it, from the first chunk that is asked for; None for no limit.

        Raises:
            OutputChangedError: The run, read again, does not begin with what was handed out.
            DeadlineExceededError: The run goes on.
            NotFoundError: There is no such run in this VM.
            VMGoneError: The VM has gone.
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

    def lines(self, *, max_delay: float | None = None, deadline: float | None = None) -> AsyncIterator[OutputLine]:
        r"""What the run writes, line by line, until it has ended; a last line without its ``\n`` comes at the end.

        Args:
            max_delay: As for `output`.
            deadline: As for `output`.

        Raises:
            OutputChangedError: As for `output`, like all other errors.
        """
        return RunLines(self.output(max_delay=max_delay, deadline=deadline))

    # --- acting ---------------------------------------------------------------------------------------------------

    async def cancel(self, *, deadline: float | None = None) -> models.CancelRunResponse:
        """Stop it: everything that it started is killed. A run that has ended already is none that was cancelled.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such run in this VM.
        """
        call = run_calls.cancel_run(self._follower.place, self.run_id)
        answer = await self._follower.place.send(call, deadline=deadline)
        if answer.cancelled:
            self._follower.state = "cancelled"
        return answer

    async def signal(self, signal: str, *, deadline: float | None = None) -> None:
        """Send it a signal. It goes to what its session is running, so it is sent only while that is this run.

        Args:
            signal: The signal's name: ``INT``, ``SIGTERM``…
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            ConflictError: The run has ended, or still waits for others of its session.
            BadRequestError: There is no such signal.
        """
        name = check_values.check_text("signal", signal, what="the name of a signal, such as INT")
        with deadline_scope(deadline, self._follower.progress("run.signal")):
            if await self._follower.ask_whether_ended() or self._follower.data is None:
                raise self._conflict("has ended")
            if self._follower.first_of_session != self.run_id:
                raise self._conflict("waits for another run of its session")
            request = RunRequest(command="", signal=name, session_id=self._follower.data.session_id)
            await self._follower.place.send(run_calls.run(self._follower.place, request, new_idempotency_key()))

    def _conflict(self, why: str) -> ConflictError:
        run_id = self._follower.place.redact(self.run_id)
        return ConflictError(
            f"the run {run_id} {why}: no signal was sent", operation="run.signal", vm_id=self.vm_id, run_id=run_id
        )


__all__ = ["AsyncRun", "OutputChunk", "OutputLine"]
