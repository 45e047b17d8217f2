"""`AsyncRun`: a run that goes on by itself, held by its id."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import attrs

from arker import _calls, _clock, _routes, models
from arker._attempts import Progress, deadline_scope
from arker._identifiers import new_idempotency_key
from arker._paging import Pages, next_cursor
from arker._pickling import refuse_to_be_pickled
from arker._poll import ASK_SECONDS, ENDED, Planner, has_ended, pause
from arker._run_output import OutputChunk, OutputLine, RunLines, RunOutput
from arker._shown import shown
from arker._transport import Transport
from arker._typing import Self
from arker.errors import (
    ArkerError,
    BadReplyError,
    ConflictError,
    NotFoundError,
    RunFailedError,
    RunNotFinishedError,
    VMGoneError,
)
from arker.models import CompletedRunResult, Run, RunRequest, RunSummary
from arker.models import _checks as check_values

UNREADABLE: Final = 10
"""How many replies in a row may tell neither the state of a run nor its end, before it is not followed any longer."""


_LONGEST_DOUBT: Final = 8.0
"""Seconds between two readings at most, while a server says that the run has ended and then that it goes on."""


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

    def __init__(
        self,
        transport: Transport,
        base_url: str,
        vm_id: str,
        run_id: str,
        *,
        state: models.RunState | str | None = None,
        tunnels: tuple[models.Tunnel, ...] = (),
        began: float | None = None,
    ) -> None:
        """Made by `AsyncVM.start`, `AsyncSession.start` and `AsyncVM.attach_run`."""
        self._transport = transport
        self._base_url = base_url
        self._vm_id = vm_id
        self._run_id = run_id
        self._state = state
        self._tunnels = tunnels
        self._began = began
        self._data: RunSummary | None = None
        self._first_of_session = run_id
        self._captured = (b"", b"")

    def __repr__(self) -> str:
        state = f" {self.state}" if self.state is not None else ""
        return shown(self._transport.redact(f"<AsyncRun {self._run_id}{state} in VM {self._vm_id}>"))

    # --- what is known of it --------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._run_id

    @property
    def vm_id(self) -> str:
        """The id of its VM, or the name that the VM's handle was made from."""
        return self._vm_id

    @property
    def data(self) -> RunSummary | None:
        """What was last read of it, without its output; None before it was read at all."""
        return self._data

    @property
    def state(self) -> models.RunState | str | None:
        """``running``, ``completed``, ``failed`` or ``cancelled`` (`RunSummary`); None before it was read at all."""
        return self._state

    @property
    def ended(self) -> bool:
        """Whether it is known to have ended."""
        return self._state in ENDED or (self._data is not None and has_ended(self._data))

    @property
    def exit_code(self) -> int | None:
        """The command's exit code, once it is known that the run has ended with one."""
        return None if self._data is None else self._data.exit_code

    @property
    def fail_reason(self) -> str | None:
        """Why it failed; of a completed run, what is missing of its output."""
        return None if self._data is None else self._data.fail_reason

    @property
    def session_id(self) -> str | None:
        """The session that it runs in."""
        return None if self._data is None else self._data.session_id

    @property
    def command(self) -> str | None:
        """The command, as a line for the shell."""
        return None if self._data is None else self._data.command

    @property
    def tunnels(self) -> tuple[models.Tunnel, ...]:
        """The tunnels that it opened; with their tokens only on the handle that `AsyncVM.start` gave."""
        return self._tunnels

    # --- asking ---------------------------------------------------------------------------------------------------

    async def refresh(self, *, deadline: float | None = None) -> Self:
        """This handle, with its fields read anew. The output of a run that has ended is read with it.

        Args:
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such run in this VM.
            VMGoneError: The VM has gone.
        """
        with deadline_scope(deadline, self._progress("run.refresh")):
            known = self._data is not None and has_ended(self._data)
            if not known and await self._ask_whether_ended():
                await self._read()
        return self

    async def wait(self, *, check: bool = False, deadline: float | None = None) -> CompletedRunResult:
        """The result, once the run has ended; the same as `AsyncVM.run` gives.

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
        with deadline_scope(deadline, self._progress("run.wait")):
            run = await self._wait()
        return self._result_of(run, "run.wait", check=check)

    async def result(self, *, check: bool = False, deadline: float | None = None) -> CompletedRunResult:
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
        with deadline_scope(deadline, self._progress("run.result")):
            ended = self.ended or await self._ask_whether_ended()
            run = await self._read() if ended else None
        if run is None or not has_ended(run):
            raise RunNotFinishedError(
                f"the run {self._transport.redact(self._run_id)} has not ended yet",
                operation="run.result",
                vm_id=self._vm_id,
                run_id=self._run_id,
            )
        return self._result_of(run, "run.result", check=check)

    def output(self, *, max_delay: float | None = None, deadline: float | None = None) -> AsyncIterator[OutputChunk]:
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
        delay = None if max_delay is None else check_values.check_seconds("max_delay", max_delay)
        bound = None if deadline is None else check_values.check_seconds("deadline", deadline)
        now = _clock.now()
        planner = Planner(now if self._began is None else self._began, self._began is not None, delay)
        return RunOutput(self._ask_whether_ended, self._read_for_output, planner, self._progress("run.output"), bound)

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
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such run in this VM.
        """
        call = _calls.cancel_run(self._base_url, self._vm_id, self._run_id)
        answer = await self._transport.send(call, deadline=deadline)
        if answer.cancelled:
            self._state = "cancelled"
        return answer

    async def signal(self, signal: str, *, deadline: float | None = None) -> None:
        """Send it a signal. It goes to what its session is running, so it is sent only while that is this run.

        Args:
            signal: The signal's name: ``INT``, ``SIGTERM``…
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            ConflictError: The run has ended, or still waits for others of its session.
            BadRequestError: There is no such signal.
        """
        name = check_values.check_text("signal", signal, what="the name of a signal, such as INT")
        with deadline_scope(deadline, self._progress("run.signal")):
            if await self._ask_whether_ended() or self._data is None:
                raise self._conflict("has ended")
            if self._first_of_session != self._run_id:
                raise self._conflict("waits for another run of its session")
            request = RunRequest(command="", signal=name, session_id=self._data.session_id)
            await self._transport.send(_calls.run(self._base_url, self._vm_id, request, new_idempotency_key()))

    def _conflict(self, why: str) -> ConflictError:
        run_id = self._transport.redact(self._run_id)
        return ConflictError(
            f"the run {run_id} {why}: no signal was sent", operation="run.signal", vm_id=self._vm_id, run_id=run_id
        )

    # --- requests -------------------------------------------------------------------------------------------------

    def _progress(self, operation: str) -> Progress:
        path = _routes.run(self._vm_id, self._run_id)
        return Progress(operation, path=path, redact=self._transport.redact)

    async def _wait(self) -> Run:
        began = _clock.now()
        contradictions = 0
        while True:
            if self.ended or await self._ask_whether_ended():
                run = await self._read()
                if has_ended(run):
                    return run
                contradictions += 1  # what is asked again and again must not be the large reply
            await _clock.sleep(min(_LONGEST_DOUBT, pause(_clock.now() - began) * 2 ** min(contradictions, 5)))

    async def _ask_whether_ended(self) -> bool:
        """Look for it among the running ones, which is a small reply however much the run has written."""

        async def page(cursor: str | None) -> tuple[tuple[RunSummary, ...], str | None]:
            # Older servers refuse the word, and do not use it.
            state = "pending,running" if self._state == "pending" else "running"
            query = {"cursor": cursor, "limit": 1000, "state": state}
            found = await self._transport.send(_calls.list_runs(self._base_url, self._vm_id, query))
            return found.runs, next_cursor(found)

        mine: RunSummary | None = None
        self._first_of_session = self._run_id
        try:
            async for run in Pages(page, None):
                if run.run_id == self._run_id:
                    mine = run
                elif mine is not None and run.session_id == mine.session_id and not has_ended(run):
                    self._first_of_session = run.run_id  # newest first
        except NotFoundError as error:
            raise await self._explain(error) from None
        except BadReplyError:
            return True  # the run itself may tell
        if mine is None:
            return True
        self._note(mine)
        return mine.state is None or has_ended(mine)

    async def _read(self) -> Run:
        """The whole run."""
        run = await self._read_readable()
        self._captured = (run.stdout, run.stderr)
        self._note(run)
        self._tunnels = self._tunnels or run.tunnels
        return run

    async def _read_readable(self) -> Run:
        call = _calls.get_run(self._base_url, self._vm_id, self._run_id)
        began = _clock.now()
        unreadable = 0
        while True:
            try:
                run = await self._transport.send(call)
                if run.state is not None or has_ended(run):
                    return run
                problem = BadReplyError("the reply names no state of the run", path="$.state")
            except NotFoundError as error:
                raise await self._explain(error) from None
            except BadReplyError as error:
                problem = error
            unreadable += 1
            if unreadable == UNREADABLE:
                raise self._unreadable(problem)
            await _clock.sleep(pause(_clock.now() - began))

    def _unreadable(self, problem: BadReplyError) -> BadReplyError:
        """Say that the run cannot be followed, with what is known of it."""
        facts = {"run_id": self._transport.redact(self._run_id), "vm_id": self._transport.redact(self._vm_id)}
        problem.stdout, problem.stderr = self._captured
        problem.message = f"{UNREADABLE} replies in a row do not tell how the run goes on: {problem.message}"
        return problem.with_context(**facts)

    async def _read_for_output(self) -> tuple[Run, bool]:
        run = await self._read()
        return run, has_ended(run)

    def _note(self, run: RunSummary) -> None:
        self._state = run.state
        self._data = _summary(run) if isinstance(run, Run) else run

    async def _explain(self, error: NotFoundError) -> ArkerError:
        """What it means that a run is answered with "not found": perhaps the VM has gone."""
        try:
            await self._transport.send(_calls.get_vm(self._base_url, self._vm_id), deadline=ASK_SECONDS)
        except NotFoundError:
            vm_id, run_id = self._transport.redact(self._vm_id), self._transport.redact(self._run_id)
            return VMGoneError(
                f"the VM {vm_id} has gone, and its run with it",
                operation=error.operation,
                vm_id=vm_id,
                run_id=run_id,
                request_id=error.request_id,
            )
        except ArkerError:
            pass
        return error

    def _result_of(self, run: Run, operation: str, *, check: bool) -> CompletedRunResult:
        result = CompletedRunResult(
            run_id=run.run_id,
            state=run.state or "completed",
            stdout=run.stdout,
            stdout_encoding=run.stdout_encoding,
            stderr=run.stderr,
            stderr_encoding=run.stderr_encoding,
            exit_code=run.exit_code,
            fail_reason=run.fail_reason,
            misfits=run.misfits,
        )
        if check:
            raise_unless_succeeded(self._transport, result, operation=operation, vm_id=self._vm_id)
        return result


_NO_SUCCESS: Final = ("failed", "cancelled", "running", "pending")


def raise_unless_succeeded(transport: Transport, result: CompletedRunResult, *, operation: str, vm_id: str) -> None:
    """What ``check=True`` means; raises `RunFailedError`."""
    # A server may have other words for success; it has none for an exit code.
    if result.exit_code != 0 or result.state in _NO_SUCCESS:
        failed = RunFailedError(result)
        # It quotes what the command has written, and who knows what that is.
        message = transport.redact(failed.message)
        raise failed.with_context(message=message, operation=operation, vm_id=vm_id)


def _summary(run: Run) -> RunSummary:
    """A run without its output, which may be large."""
    return RunSummary(**{field.name: getattr(run, field.name) for field in attrs.fields(RunSummary)})


__all__ = ["AsyncRun", "OutputChunk", "OutputLine"]
